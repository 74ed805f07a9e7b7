"""The last alarms of all processes, for people who look: of each kind and destination one.

Whoever must not miss an alarm watches log or metrics; this is where an operator sees what there
was to hear. Messages may name what people wrote, so they are encrypted where there is a key ring.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import orjson

from proxy.domain.schedule import DAY
from proxy.errors import ConfigurationError, ProxyError
from proxy.observability.alarms import Alarm, AlarmRecord, Alarms
from proxy.store.queries import flat
from proxy.store.requests import RequestStore

KEPT: Final = 7 * DAY
"""Milliseconds after which an alarm that did not sound again is forgotten."""

_PAUSE: Final = 1.0  # seconds between two writes, however many alarms sound
_LATER: Final = 10.0  # after one that failed
_ENDS: Final = {
    Alarm.DESTINATION_RESUMED.value: Alarm.DESTINATION_PAUSED.value,
    Alarm.DESTINATION_PAUSED.value: Alarm.DESTINATION_RESUMED.value,
}
"""Of two that contradict each other, the later one stands."""

_log: Final = logging.getLogger(__name__)


class AlarmBoard:
    """Takes over what sounds in this process, and shows what sounded in any."""

    def __init__(self, store: RequestStore, alarms: Alarms) -> None:
        self._store = store
        self._alarms = alarms
        self._key = store.keys.shared("alarms")

    @asynccontextmanager
    async def taking_over(self) -> AsyncIterator[None]:
        """Write down what sounds inside the block; what sounded last, on leaving it."""
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
        """Write down what sounded; False where that cannot be now, and it is kept."""
        sounded = self._alarms.drain()
        try:
            if sounded:
                await self.write(sounded)
        except (ProxyError, asyncio.CancelledError) as error:
            for each in sounded:
                self._alarms.buffer(each)
            if not isinstance(error, ProxyError):
                raise
            _log.info("Alarms could not be put into the store: %s", error)
            return False
        return True

    async def write(self, sounded: list[AlarmRecord]) -> None:
        """Put alarms in the place of earlier ones, and forget what is old.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        newest = max(each.at for each in sounded)
        over = {_place(it) for it in await self.read() if it.at < newest - KEPT}
        rows: dict[str, bytes] = {}
        for each in sounded:
            place = _place(each)
            rows[place] = self._store.privacy.encrypt(orjson.dumps(each), f"{self._key}:{place}")
            if ended := _ENDS.get(each.alarm):
                over.add(_place(replace(each, alarm=ended)))
            over.discard(place)
        call = self._store.batcher.command
        await call("HSET", self._key, *(word for row in rows.items() for word in row))
        if over:
            await call("HDEL", self._key, *over)

    async def read(self) -> list[AlarmRecord]:
        """Return the alarms, the last first; what cannot be read is left out.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        words = flat(await self._store.batcher.command("HGETALL", self._key))
        rows = zip(words[::2], words[1::2], strict=True)
        found = [it for place, hidden in rows if (it := self._shown(place, hidden))]
        return sorted(found, key=lambda it: it.at, reverse=True)

    def _shown(self, place: bytes, hidden: bytes) -> AlarmRecord | None:
        """Return an alarm as any version wrote it; None if a key is missing, or it is damaged."""
        try:
            body = self._store.privacy.decrypt(hidden, f"{self._key}:{place.decode()}")
            row = orjson.loads(body)
        except (ConfigurationError, ValueError):
            return None
        match row:
            case {"at": int(at), "alarm": str(alarm), "message": str(message), **more}:
                named = (str(more.get(it, "")) for it in ("correlation_id", "destination"))
                return AlarmRecord(at, alarm, message, *named)
            case _:
                return None


def _place(sounded: AlarmRecord) -> str:
    return f"{sounded.alarm} {sounded.destination}".rstrip()
