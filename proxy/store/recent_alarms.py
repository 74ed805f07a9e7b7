"""The latest alarm of each kind and destination, from all processes, for the operators' console.

Alarms that nobody may miss are in log and metrics. Messages may quote what people wrote, so they
are encrypted if there is a key ring.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from typing import Final

import orjson

from proxy.domain.schedule import DAY
from proxy.errors import ConfigurationError, ProxyError
from proxy.observability.alarms import Alarm, AlarmRecord, Alarms
from proxy.store.queries import flat, pairs
from proxy.store.requests import RequestStore

KEPT: Final = 7 * DAY
"""Milliseconds after which an alarm that was not repeated is removed."""

_PAUSE: Final = 1.0  # seconds between two writes, whatever the number of alarms
_LATER: Final = 10.0  # seconds after a write that failed
_ENDS: Final = {
    Alarm.DESTINATION_RESUMED.value: Alarm.DESTINATION_PAUSED.value,
    Alarm.DESTINATION_PAUSED.value: Alarm.DESTINATION_RESUMED.value,
}
"""An alarm removes the earlier one that it contradicts."""

_log: Final = logging.getLogger(__name__)


class RecentAlarms:
    """Stores the alarms of this process, and returns those of all processes."""

    def __init__(self, store: RequestStore, alarms: Alarms) -> None:
        self._store = store
        self._alarms = alarms
        self._key = store.keys.shared("alarms")

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Store the alarms that are raised inside the block, the last ones on leaving it."""
        running = asyncio.create_task(self._run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})
            await self._take_over()

    async def _run(self) -> None:
        while True:
            await self._alarms.sounding.wait()
            await asyncio.sleep(_PAUSE if await self._take_over() else _LATER)

    async def _take_over(self) -> bool:
        """Store the buffered alarms; False if that failed and they are buffered again."""
        alarms = self._alarms.drain()
        try:
            if alarms:
                await self.write(alarms)
        except (ProxyError, asyncio.CancelledError) as error:
            for alarm in alarms:
                self._alarms.buffer(alarm)
            if not isinstance(error, ProxyError):
                raise
            _log.info("Alarms could not be stored: %s", error)
            return False
        return True

    async def write(self, alarms: list[AlarmRecord]) -> None:
        """Replace earlier alarms of the same kind and destination, and remove old ones.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        newest = max(alarm.at for alarm in alarms)
        removed = {_field(old) for old in await self.read() if old.at < newest - KEPT}
        rows: dict[str, bytes] = {}
        for alarm in alarms:
            field = _field(alarm)
            rows[field] = self._store.privacy.encrypt(orjson.dumps(alarm), f"{self._key}:{field}")
            if ended := _ENDS.get(alarm.alarm):
                removed.add(_field(replace(alarm, alarm=ended)))
            removed.discard(field)
        call = self._store.batcher.command
        await call("HSET", self._key, *chain.from_iterable(rows.items()))
        if removed:
            await call("HDEL", self._key, *removed)

    async def read(self) -> list[AlarmRecord]:
        """Return the alarms, newest first, without those that cannot be read.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        rows = pairs(flat(await self._store.batcher.command("HGETALL", self._key)))
        alarms = [alarm for field, stored in rows if (alarm := self._parse(field, stored))]
        return sorted(alarms, key=lambda alarm: alarm.at, reverse=True)

    def _parse(self, field: bytes, stored: bytes) -> AlarmRecord | None:
        """Return an alarm as any version wrote it; None if it is damaged or its key is missing."""
        try:
            body = self._store.privacy.decrypt(stored, f"{self._key}:{field.decode()}")
            row = orjson.loads(body)
        except (ConfigurationError, ValueError):
            return None
        match row:
            case {"at": int(at), "alarm": str(alarm), "message": str(message), **more}:
                names = (str(more.get(name, "")) for name in ("correlation_id", "destination"))
                return AlarmRecord(at, alarm, message, *names)
            case _:
                return None


def _field(alarm: AlarmRecord) -> str:
    return f"{alarm.alarm} {alarm.destination}".rstrip()
