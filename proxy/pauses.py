"""Which destinations are in use: a wrong setting pauses one, a success ends the pause.

A refused credential or permission is no fault of the request that met it. It pauses the whole
destination, costs no attempts, and is probed with the due requests in turn until one succeeds.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proxy.alarms import Alarm, Alarms
from proxy.domain.clock import Clock
from proxy.domain.schedule import MINUTE, SECOND, Dice
from proxy.errors import ConfigurationError
from proxy.metrics import Metrics
from proxy.store.shared import Pause, Shared

PROBE_EVERY: Final = 10 * SECOND
SPREAD: Final = MINUTE
_FRESH_FOR: Final = SECOND


class Pauses:
    """The pauses of all processes, seen through a view that is at most a second old.

    `share` bounds how many steps of this process may use one destination at once, so that one that
    hangs leaves room for the others.
    """

    def __init__(
        self,
        *,
        shared: Shared,
        alarms: Alarms,
        metrics: Metrics,
        clock: Clock,
        dice: Dice,
        share: int,
    ) -> None:
        self._shared = shared
        self._share = share
        self._busy: Counter[str] = Counter()
        self._alarms = alarms
        self._metrics = metrics
        self._clock = clock
        self._dice = dice
        self._view: dict[str, Pause] = {}
        self._seen_at: int | None = None

    @contextmanager
    def used(self, name: str) -> Iterator[None]:
        """Count a step that uses the destination."""
        self._busy[name] += 1
        try:
            yield
        finally:
            self._busy[name] -= 1

    def crowded(self, name: str) -> bool:
        """Whether the destination has its share of this process already."""
        return self._busy[name] >= self._share

    async def usable(self, name: str) -> bool:
        """Whether a request may use the destination now: no pause, or its turn to probe."""
        if not (await self._pause(name)).since:
            return True
        return await self._shared.may_probe(name, again_after=PROBE_EVERY)

    def wait(self) -> int:
        """Return how long a request should leave a paused destination alone, in milliseconds.

        Waiting requests are spread, so that the probes of a long queue fall on all of them.
        """
        return PROBE_EVERY + int(SPREAD * self._dice())

    async def succeeded(self, name: str) -> None:
        """End the pause of a destination that has just worked."""
        if (await self._pause(name)).since and await self._shared.resume(name):
            self._seen_at = None
            self._metrics.paused.labels(name).set(0)
            self._alarms.sound(Alarm.DESTINATION_RESUMED, f"{name} works again", destination=name)

    async def refused(self, name: str, error: ConfigurationError, *, refused_at: int = 0) -> bool:
        """Pause the destination; False if the refusal concerns this one request instead.

        It does when this request was refused before, at `refused_at`, and another one succeeded
        since.
        """
        self._seen_at = None
        pause = await self._pause(name)
        if error.request_specific and 0 < refused_at <= pause.resumed_at:
            return False
        self._metrics.paused.labels(name).set(1)
        if await self._shared.pause(name, str(error), probe_after=PROBE_EVERY):
            self._alarms.sound(
                Alarm.DESTINATION_PAUSED,
                f"{name} is paused: {error}. Work goes on by itself once this is repaired.",
                destination=name,
            )
        self._seen_at = None
        return True

    async def _pause(self, name: str) -> Pause:
        now = self._clock.monotonic()
        if self._seen_at is None or now - self._seen_at >= _FRESH_FOR:
            self._view = await self._shared.pauses()
            self._seen_at = now
        return self._view.get(name, Pause())
