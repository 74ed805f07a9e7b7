"""What the web side knows of the store between calls: counts and pauses, read again and again.

Health pages and the backlog gate answer from here, so that nobody can load the store with them.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

from proxy.domain.clock import Clock
from proxy.domain.models import State
from proxy.errors import ProxyError
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics
from proxy.store.pauses import Cause, Pause, PauseStore

_EVERY: Final = 500  # milliseconds between two looks
_PATIENCE: Final = 2_000  # milliseconds for one look
_TOO_OLD: Final = 5_000  # milliseconds after which a look says nothing any more

_log: Final = logging.getLogger(__name__)


class Counts(Protocol):
    """The part of the store that is looked at."""

    async def counts(self) -> dict[State, int]:
        """Return how many requests are in each state."""
        ...

    async def next_due(self) -> int | None:
        """Return the earliest due time."""
        ...

    async def refresh_run_ids(self) -> None:
        """Note who the servers are, for what is admitted from now on."""
        ...


class StoreMonitor:
    """The last look at the store.

    Attributes:
        counts: requests by state.
        paused: the destinations that are paused now.
        looks: how many looks succeeded.
    """

    def __init__(
        self,
        *,
        store: Counts,
        pause_store: PauseStore,
        metrics: Metrics,
        alarms: Alarms,
        clock: Clock,
    ) -> None:
        self.counts: Mapping[State, int] = {}
        self.paused: Mapping[str, Pause] = {}
        self.looks = 0
        self._seen = 0  # of `counts`, those without a ticket: asked for in every hook call
        self._admitted = 0  # passed the gate after the last look began
        self._store = store
        self._pause_store = pause_store
        self._metrics = metrics
        self._alarms = alarms
        self._clock = clock
        self._seen_at = 0
        self._failing = False

    @property
    def stale(self) -> bool:
        """Whether the store did not answer the last look, or the last look is long ago."""
        age = self._clock.monotonic() - self._seen_at
        return self._failing or not self.looks or age > _TOO_OLD

    @property
    def waiting(self) -> int:
        """How many accepted requests have no ticket yet: those last seen, and those since then."""
        return self._seen + self._admitted

    def admitted(self) -> None:
        """Count a request that the last look cannot have seen."""
        self._admitted += 1

    async def running(self, _app: object) -> AsyncIterator[None]:
        """Look once, then again and again while the application runs (aiohttp's cleanup_ctx)."""
        await self.refresh()
        task = asyncio.create_task(self._run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY / 1000)
            await self.refresh()

    async def refresh(self) -> None:
        """Look once; a store that does not answer is an alarm when it begins, not at every look."""
        earlier = self._admitted  # what comes in while we look may not be in the counts
        try:
            async with asyncio.timeout(_PATIENCE / 1000):
                counts, due, pauses, _ = await asyncio.gather(
                    self._store.counts(),
                    self._store.next_due(),
                    self._pause_store.pauses(),
                    self._store.refresh_run_ids(),
                )
        except (ProxyError, TimeoutError) as error:
            if not self._failing:
                why = str(error) or f"no answer within {_PATIENCE} ms"
                self._alarms.sound(
                    Alarm.STORE_UNREACHABLE,
                    f"The store does not answer: {why} Hook calls are answered with 500 until it"
                    " does. Look at the Redis server and the network to it.",
                )
            self._failing = True
            return
        if self._failing:
            _log.warning("The store answers again")
        self._failing = False
        self._admitted -= earlier
        self._take(counts, due, pauses)

    def _take(
        self, counts: Mapping[State, int], due: int | None, pauses: Mapping[str, Pause]
    ) -> None:
        self.counts = counts
        self._seen = counts.get(State.RECEIVED, 0) + counts.get(State.OPENING, 0)
        self.paused = {name: pause for name, pause in pauses.items() if pause.since}
        self._seen_at = self._clock.monotonic()
        self.looks += 1
        for state, count in counts.items():
            self._metrics.requests.labels(state).set(count)
        for name, pause in pauses.items():
            for cause in Cause:
                stands = pause.since and pause.cause is cause
                self._metrics.paused.labels(name, cause).set(bool(stands))
        late = 0 if due is None else max(0, self._clock.now() - due)
        self._metrics.due_lag.set(late / 1000)
