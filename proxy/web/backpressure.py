"""Backpressure on hook calls: a long backlog delays their answers, and a full one refuses them."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import TemporaryError
from proxy.observability.alarms import Alarm, Alarms
from proxy.web.health.store_monitor import StoreMonitor

_RETRY_AFTER: Final = 30_000  # milliseconds; a backlog of this size takes its time


@dataclass(frozen=True, slots=True, kw_only=True)
class BackpressurePolicy:
    """The delay of an answer: none below `slow_from` waiting requests, then growing to `slowest`.

    At `limit` waiting requests, calls are refused. `slowest` is in milliseconds.
    """

    limit: int = 100_000
    slow_from: int = 5_000
    slowest: int = 2_000

    def delay(self, waiting: int) -> int:
        """Return the delay of an answer in milliseconds.

        Raises:
            TemporaryError: the limit is reached; nothing was stored.
        """
        if waiting < self.slow_from:
            return 0
        if waiting >= self.limit:
            raise TemporaryError(
                f"The backlog is full: {waiting} requests wait for their tickets. Send the same"
                " request again later.",
                retry_after=_RETRY_AFTER,
                maybe_sent=False,
            )
        return self.slowest * (waiting - self.slow_from) // (self.limit - self.slow_from)


@dataclass(slots=True, kw_only=True)
class Backlog:
    """The accepted requests without a ticket, and the backpressure policy that applies to them."""

    monitor: StoreMonitor
    policy: BackpressurePolicy
    alarms: Alarms
    _full: bool = field(default=False, init=False)

    async def admit(self) -> None:
        """Return at once while the backlog is short, and after a delay while it is long.

        Raises:
            TemporaryError: the limit is reached.
        """
        try:
            delay = self.policy.delay(self.monitor.waiting)
        except TemporaryError as error:
            if not self._full:
                self._full = True
                self.alarms.sound(Alarm.BACKLOG_FULL, str(error))
            raise
        self._full = False
        self.monitor.admitted()
        if delay:
            await asyncio.sleep(delay / 1000)
