"""Pauses: which destinations may be called, and when a paused one is probed.

A refused credential, an outage or a rate limit is not the fault of the request that met it. Each of
these pauses the whole destination and costs no attempts. The due requests probe the destination in
turn until one call succeeds. A pause for maintenance is not probed; an operator ends it.
"""

import logging
from collections.abc import Collection
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.schedule import LONGEST_RETRY_AFTER, SECOND, SLOWEST_RETRY
from proxy.engine.bulkhead import Bulkhead, Permit
from proxy.errors import ConfigurationError, TemporaryError
from proxy.observability.alarms import Alarm, Alarms
from proxy.store.pauses import PASSING, Cause, Pause, PauseStore

_log: Final = logging.getLogger(__name__)

PROBE_EVERY: Final = 10 * SECOND
"""The milliseconds between two probes of a paused destination."""

QUEUE_SPACING: Final = SECOND // 4
"""The milliseconds between two requests that wait for a destination, in one process. A look costs
little, but ten thousand requests that looked once a minute would be most of the store's work."""

DOWN_AFTER: Final = 5
"""Different requests that must fail in a row before a destination counts as down, so that one
request on which a ticket system fails does not stop the others."""

RATE_LIMITED_AFTER: Final = 2
"""Different requests that must fail in a row, the last at a rate limit, before a pause."""

_VIEW_LIFETIME: Final = SECOND


class Pauses:
    """The pauses of all processes, seen through a view that is at most a second old.

    `share` limits how many steps of this process may use one destination at once.
    """

    def __init__(self, *, store: PauseStore, alarms: Alarms, clock: Clock, share: int) -> None:
        self._store = store
        self._share = share
        self._bulkheads: dict[str, Bulkhead] = {}
        self._alarms = alarms
        self._failing: dict[str, set[str]] = {}
        self._clock = clock
        self._queue: dict[str, int] = {}
        self._view: dict[str, Pause] = {}
        self._seen_at: int | None = None

    def permit(self) -> Permit:
        """Return the permit of one request; it holds one destination at a time."""
        return Permit(lambda name: self._bulkheads.setdefault(name, Bulkhead(self._share)))

    async def may_call(self, name: str) -> bool:
        """Return True if the destination is not paused, or if this call is its next probe."""
        if not (await self._pause(name)).since:
            return True
        return await self._store.may_probe(name, again_after=PROBE_EVERY)

    def next_attempt_in(self, name: str, now: int, *, failed_probe: bool = False) -> int:
        """Return how many milliseconds a request should leave a paused destination alone.

        Waiting requests form a queue, so that many of them cost little more than a few, and each
        gets its turn to probe. A queue of a quarter of an hour begins again at its head. A
        destination that has been down for seconds is probed again within seconds. `now` is the
        store's time.

        A request that probed and failed goes to the back of the queue, so that one bad request
        cannot be the only probe.
        """
        pause = self._view.get(name, Pause())
        every = PROBE_EVERY
        if pause.cause in PASSING:
            every = min(every, max(now - pause.since, pause.probe_at - pause.since, SECOND))
        head = max(now + every, pause.probe_at)
        slot = self._queue.get(name, 0) + QUEUE_SPACING
        if failed_probe:
            return head - now + min(max(slot - now, every), SLOWEST_RETRY)
        if not head <= slot <= head + SLOWEST_RETRY:
            slot = head
        self._queue[name] = slot
        return slot - now

    async def has_ended(self, name: str) -> bool:
        """Return True if the pause has ended, according to a fresh look at the store."""
        self._seen_at = None
        return not await self.paused(name)

    async def on_success(self, name: str) -> None:
        """End the pause of a destination that has just worked, except one for maintenance."""
        await self._resume(name, (Cause.MISCONFIGURED, *PASSING))

    async def on_answer(self, name: str) -> None:
        """End the pause of a destination that counted as down and has now refused a call."""
        await self._resume(name, PASSING)

    async def on_failure(self, name: str, error: TemporaryError, *, by: str) -> None:
        """Count the failure of one request; pause a destination on which several fail in a row.

        A rate limit pauses it only if two different requests met it, because a limit that one
        request met may be its own. The pause lasts as long as the destination asks for.
        """
        failing = self._failing.setdefault(name, set())
        failing.add(by)
        if error.rate_limited and len(failing) >= RATE_LIMITED_AFTER:
            retry_after = min(max(error.retry_after or 0, SECOND), LONGEST_RETRY_AFTER)
            await self._begin(name, Cause.RATE_LIMITED, str(error), probe_after=retry_after)
        elif len(failing) >= DOWN_AFTER:
            await self._begin(name, Cause.UNREACHABLE, str(error), probe_after=SECOND)

    async def paused(self, name: str) -> bool:
        """Return True if the destination is paused, so that failures cost no attempts."""
        return bool((await self._pause(name)).since)

    async def on_refused_credential(
        self, name: str, error: ConfigurationError, *, refused_at: int = 0
    ) -> bool:
        """Pause the destination; return False if only this request is refused.

        That is so if this request was refused before, at `refused_at`, and another one has
        succeeded since.
        """
        self._seen_at = None
        pause = await self._pause(name)
        if error.request_specific and 0 < refused_at <= pause.resumed_at:
            return False
        await self._begin(name, Cause.MISCONFIGURED, str(error), probe_after=PROBE_EVERY)
        return True

    async def _begin(self, name: str, cause: Cause, reason: str, *, probe_after: int) -> None:
        if await self._store.pause(name, reason, probe_after=probe_after, cause=cause):
            if cause is Cause.RATE_LIMITED:  # happens every day: not worth an alarm
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
        if pause.since and await self._store.resume(name, causes=causes):
            self._seen_at = None
            if pause.cause is not Cause.RATE_LIMITED:
                message = f"{name} works again"
                self._alarms.sound(Alarm.DESTINATION_RESUMED, message, destination=name)

    async def _pause(self, name: str) -> Pause:
        """Return the pause of a destination, and finish what a dead process left of ended ones."""
        now = self._clock.monotonic()
        if self._seen_at is None or now - self._seen_at >= _VIEW_LIFETIME:
            self._view = await self._store.pauses()
            self._seen_at = now
            for destination, pause in self._view.items():
                if pause.returning:
                    # The process that ended this pause has not made all waiting requests due yet.
                    await self._store.requeue_waiting(destination)
        return self._view.get(name, Pause())
