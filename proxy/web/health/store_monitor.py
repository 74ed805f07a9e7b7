"""The state of the store between calls: counts and pauses, refreshed twice a second.

Health endpoints and backpressure read it from here, so that no caller can load the store with them.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.models import State
from proxy.errors import ProxyError
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics
from proxy.store.pauses import Cause, Pause, PauseStore
from proxy.store.requests import RequestStore

_INTERVAL: Final = 500  # milliseconds between two refreshes
_TIMEOUT: Final = 2_000  # milliseconds for one refresh
_MAX_AGE: Final = 5_000  # milliseconds after which the state is stale

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class StoreMonitor:
    """The state of the store at the last refresh."""

    store: RequestStore
    pause_store: PauseStore
    metrics: Metrics
    alarms: Alarms
    clock: Clock
    counts: Mapping[State, int] = field(default_factory=dict, init=False)
    """Requests by state."""
    paused: Mapping[str, Pause] = field(default_factory=dict, init=False)
    """The destinations that are paused."""
    refreshes: int = field(default=0, init=False)
    """Refreshes that succeeded."""
    _without_ticket: int = field(default=0, init=False)  # of `counts`: read in every hook call
    _admitted: int = field(default=0, init=False)  # after the last refresh began
    _refreshed_at: int = field(default=0, init=False)
    _failing: bool = field(default=False, init=False)

    @property
    def stale(self) -> bool:
        """True if the last refresh failed, or is too long ago."""
        age = self.clock.monotonic() - self._refreshed_at
        return self._failing or not self.refreshes or age > _MAX_AGE

    @property
    def waiting(self) -> int:
        """Accepted requests without a ticket: at the last refresh, and admitted since."""
        return self._without_ticket + self._admitted

    def admitted(self) -> None:
        """Count a request that the last refresh cannot have counted."""
        self._admitted += 1

    async def running(self, _app: object) -> AsyncIterator[None]:
        """Refresh once, then again and again while the application runs (aiohttp's cleanup_ctx)."""
        await self.refresh()
        task = asyncio.create_task(self._run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL / 1000)
            await self.refresh()

    async def refresh(self) -> None:
        """Read counts and pauses; a store that stops answering raises one alarm."""
        earlier = self._admitted  # a request admitted from now on may be missing in the counts
        try:
            async with asyncio.timeout(_TIMEOUT / 1000):
                counts, due, pauses, _ = await asyncio.gather(
                    self.store.counts(),
                    self.store.next_due(),
                    self.pause_store.pauses(),
                    self.store.refresh_run_ids(),
                )
        except (ProxyError, TimeoutError) as error:
            if not self._failing:
                cause = str(error) or f"no answer within {_TIMEOUT} ms"
                self.alarms.sound(
                    Alarm.STORE_UNREACHABLE,
                    f"The store does not answer: {cause} Hook calls are answered with 500 until it"
                    " does. Look at the Redis server and the network to it.",
                )
            self._failing = True
            return
        if self._failing:
            _log.warning("The store answers again")
        self._failing = False
        self._admitted -= earlier
        self._update(counts, due, pauses)

    def _update(
        self, counts: Mapping[State, int], due: int | None, pauses: Mapping[str, Pause]
    ) -> None:
        self.counts = counts
        self._without_ticket = counts.get(State.RECEIVED, 0) + counts.get(State.OPENING, 0)
        self.paused = {name: pause for name, pause in pauses.items() if pause.since}
        self._refreshed_at = self.clock.monotonic()
        self.refreshes += 1
        for state, count in counts.items():
            self.metrics.requests.labels(state).set(count)
        for name, pause in pauses.items():
            for cause in Cause:
                stands = pause.since and pause.cause is cause
                self.metrics.paused.labels(name, cause).set(bool(stands))
        late = 0 if due is None else max(0, self.clock.now() - due)
        self.metrics.due_lag.set(late / 1000)
