"""The gate before admission: a long backlog slows callers down, and at its limit refuses them."""

import asyncio
from dataclasses import dataclass
from typing import Final

from proxy.errors import TemporaryError
from proxy.observability.alarms import Alarm, Alarms
from proxy.web.health.store_monitor import StoreMonitor

_COME_BACK: Final = 30_000  # milliseconds; a backlog of this size takes its time


@dataclass(frozen=True, slots=True, kw_only=True)
class BackpressurePolicy:
    """From `slow_from` waiting requests on answers wait, at `limit` the `slowest` milliseconds."""

    limit: int = 100_000
    slow_from: int = 5_000
    slowest: int = 2_000

    def delay(self, waiting: int) -> int:
        """Return how many milliseconds an answer waits.

        Raises:
            TemporaryError: the limit is reached; nothing was stored.
        """
        if waiting < self.slow_from:
            return 0
        if waiting >= self.limit:
            raise TemporaryError(
                f"The backlog is full: {waiting} requests wait for their tickets. Send the same"
                " request again later.",
                retry_after=_COME_BACK,
                maybe_sent=False,
            )
        return self.slowest * (waiting - self.slow_from) // (self.limit - self.slow_from)


class Backlog:
    """Applies the slope to what is known to wait."""

    def __init__(self, *, watch: StoreMonitor, slope: BackpressurePolicy, alarms: Alarms) -> None:
        self._watch = watch
        self._slope = slope
        self._alarms = alarms
        self._full = False

    async def admit(self) -> None:
        """Return at once while the backlog is short, after a while when it is long.

        Raises:
            TemporaryError: the limit is reached.
        """
        try:
            delay = self._slope.delay(self._watch.waiting)
        except TemporaryError as error:
            if not self._full:
                self._full = True
                self._alarms.sound(Alarm.BACKLOG_FULL, str(error))
            raise
        self._full = False
        self._watch.admitted()
        if delay:
            await asyncio.sleep(delay / 1000)
