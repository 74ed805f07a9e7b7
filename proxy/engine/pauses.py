"""Which destinations are in use, and which are paused: for one of four causes.

A refused credential or permission is no fault of the request that met it, nor is an outage or a
rate limit. Each pauses the whole destination, costs no attempts, and is probed with the due
requests in turn until one gets through. Maintenance is not probed, and ends by an operator.
"""

import logging
from collections.abc import Collection
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.schedule import LONGEST_RETRY_AFTER, SECOND, SLOWEST_RETRY
from proxy.engine.bulkhead import Bulkhead, Permit
from proxy.errors import ConfigurationError, TemporaryError
from proxy.observability.alarms import Alarm, Alarms
from proxy.store.shared import PASSING, Cause, Pause, Shared

_log: Final = logging.getLogger(__name__)

PROBE_EVERY: Final = 10 * SECOND
APART: Final = SECOND // 4
"""Between the looks of one process at those that wait for a destination: looks are cheap, but ten
thousand that came back once a minute would be most of what the store and the workers do."""

OPENS_AFTER: Final = 5
"""Different requests that fail in a row before a destination is held to be down: one request that
makes a ticket system stumble must not stop the others."""

LIMITED_AFTER: Final = 2
"""Different requests in a row, the last of which met a rate limit."""

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
        clock: Clock,
        share: int,
    ) -> None:
        self._shared = shared
        self._share = share
        self._places: dict[str, Bulkhead] = {}
        self._alarms = alarms
        self._failing: dict[str, set[str]] = {}
        self._clock = clock
        self._line: dict[str, int] = {}
        self._view: dict[str, Pause] = {}
        self._seen_at: int | None = None

    def permit(self) -> Permit:
        """Return what holds the place of one request, at one destination after the other."""
        return Permit(lambda name: self._places.setdefault(name, Bulkhead(self._share)))

    async def usable(self, name: str) -> bool:
        """Whether a request may use the destination now: no pause, or its turn to probe."""
        if not (await self._pause(name)).since:
            return True
        return await self._shared.may_probe(name, again_after=PROBE_EVERY)

    def next_attempt_in(self, name: str, now: int, *, again: bool = False) -> int:
        """Return how long a request should leave a paused destination alone, in milliseconds.

        They wait in line, one behind the other: so many of them cost little more than a few, and
        the probes fall on all in turn. A line of a quarter of an hour begins again at its head.
        Where a system has been down for seconds only, it is looked at again within seconds. `now`
        is the store's time.

        One that tries and fails `again` waits for the length of the line once more: what fails for
        it alone would otherwise be all that is ever tried.
        """
        pause = self._view.get(name, Pause())
        every = PROBE_EVERY
        if pause.cause in PASSING:
            every = min(every, max(now - pause.since, pause.probe_at - pause.since, SECOND))
        head = max(now + every, pause.probe_at)
        place = self._line.get(name, 0) + APART
        if again:
            return head - now + min(max(place - now, every), SLOWEST_RETRY)
        if not head <= place <= head + SLOWEST_RETRY:
            place = head
        self._line[name] = place
        return place - now

    async def has_ended(self, name: str) -> bool:
        """Whether the pause has ended by now, and not just a second ago."""
        self._seen_at = None
        return not await self.paused(name)

    async def on_success(self, name: str) -> None:
        """End the pause of a destination that has just worked; maintenance is not ended by that."""
        await self._resume(name, (Cause.MISCONFIGURED, *PASSING))

    async def on_answer(self, name: str) -> None:
        """End the pause of a destination that was held to be down, and refused something now."""
        await self._resume(name, PASSING)

    async def on_failure(self, name: str, error: TemporaryError, *, by: str) -> None:
        """Count a failure of one request; pause a destination that fails several in a row.

        One that asks two of them to be called less is paused for as long as it asks: a limit that
        one request met may be its own.
        """
        failing = self._failing.setdefault(name, set())
        failing.add(by)
        if error.rate_limited and len(failing) >= LIMITED_AFTER:
            asked = min(max(error.retry_after or 0, SECOND), LONGEST_RETRY_AFTER)
            await self._begin(name, Cause.RATE_LIMITED, str(error), probe_after=asked)
        elif len(failing) >= OPENS_AFTER:
            await self._begin(name, Cause.UNREACHABLE, str(error), probe_after=SECOND)

    async def paused(self, name: str) -> bool:
        """Whether the destination is paused, so that failures use up no attempts."""
        return bool((await self._pause(name)).since)

    async def on_refused_credential(
        self, name: str, error: ConfigurationError, *, refused_at: int = 0
    ) -> bool:
        """Pause the destination; False if the refusal concerns this one request instead.

        It does when this request was refused before, at `refused_at`, and another one succeeded
        since.
        """
        self._seen_at = None
        pause = await self._pause(name)
        if error.request_specific and 0 < refused_at <= pause.resumed_at:
            return False
        await self._begin(name, Cause.MISCONFIGURED, str(error), probe_after=PROBE_EVERY)
        return True

    async def _begin(self, name: str, cause: Cause, reason: str, *, probe_after: int) -> None:
        if await self._shared.pause(name, reason, probe_after=probe_after, cause=cause):
            if cause is Cause.RATE_LIMITED:  # as every day: not for a person
                _log.info("%s is paused for %d ms: %s", name, probe_after, reason)
            else:
                self._alarms.sound(
                    Alarm.DESTINATION_PAUSED,
                    f"{name} is paused ({cause}): {reason}. Work goes on by itself once this is"
                    " repaired.",
                    destination=name,
                )
        self._seen_at = None

    async def _resume(self, name: str, causes: Collection[Cause]) -> None:
        self._failing.pop(name, None)
        pause = await self._pause(name)
        if pause.since and await self._shared.resume(name, causes=causes):
            self._seen_at = None
            if pause.cause is not Cause.RATE_LIMITED:
                says = f"{name} works again"
                self._alarms.sound(Alarm.DESTINATION_RESUMED, says, destination=name)

    async def _pause(self, name: str) -> Pause:
        now = self._clock.monotonic()
        if self._seen_at is None or now - self._seen_at >= _FRESH_FOR:
            self._view = await self._shared.pauses()
            self._seen_at = now
            for each, pause in self._view.items():
                if pause.returning:  # whoever ended the pause has not done it, or not yet
                    await self._shared.requeue_waiting(each)
        return self._view.get(name, Pause())
