"""When something is tried again: pure functions of counts, with the dice handed in."""

from collections.abc import Callable
from typing import Final

from proxy.domain.models import Fulfilment, Record, State
from proxy.domain.route import PollSchedule

Jitter = Callable[[], float]
"""Returns a number in [0, 1): the source of jitter, so that a thousand requests spread out."""

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SLOWEST_RETRY: Final = 15 * MINUTE
LONGEST_RETRY_AFTER: Final = HOUR
LONGEST_PAUSE: Final = LONGEST_RETRY_AFTER + SLOWEST_RETRY
"""For a paused destination, until the next look: it may ask for the one, the other is ours."""


def backoff(attempt: int, jitter: Jitter, retry_after: int | None = None) -> int:
    """Return the pause after the given number of failures: 1 s doubling to 15 min, plus jitter.

    A pause the other side asked for is respected up to an hour, and never shortened by jitter.
    """
    planned = min(SECOND * 2 ** min(attempt, 20), SLOWEST_RETRY)
    jittered = int(planned * (0.8 + 0.4 * jitter()))
    if retry_after is None:
        return jittered
    return max(jittered, min(retry_after, LONGEST_RETRY_AFTER))


def poll_pause(
    polls: int, poll: PollSchedule, jitter: Jitter, *, change_list_interval: int = 0
) -> int:
    """Return the pause before the next read of a ticket that was read `polls` times.

    Where its system lists changes every so many milliseconds, reads that would be as slow as that
    give way to the list.
    """
    planned = min(poll.first * poll.factor ** min(polls, 60), poll.slowest)
    if change_list_interval and planned >= change_list_interval:
        planned = poll.safety_net
    return int(planned * (0.9 + 0.2 * jitter()))


def due_at(record: Record, planned: int | None, now: int) -> int | None:
    """Return when the record wants attention next; None means never by itself.

    Whatever else is planned, it is looked at when its deadline passes, and again and again while
    that has passed and could not be met.
    """
    deadline = _deadline(record)
    if deadline is None:
        return planned
    if now >= deadline:
        return now + SLOWEST_RETRY if planned is None else planned
    return deadline if planned is None else min(planned, deadline)


def _deadline(record: Record) -> int | None:
    """Return the end of the clock that runs: for a decision, or for the access after it.

    The first runs in every state before `decided`, held and dead included, and fires once; the
    second one while the access is awaited.
    """
    if record.decision is None and record.state is not State.DONE and not record.deadline_fired:
        return record.deadline_at
    awaited = record.state is State.FULFILLING and record.fulfilment is Fulfilment.WAITING
    return record.fulfil_by if awaited else None
