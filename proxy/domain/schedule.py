"""Schedules: when something is tried again. Pure functions; the jitter is passed in."""

from collections.abc import Callable
from typing import Final

from proxy.domain.models import Fulfilment, Record, State
from proxy.domain.route import PollSchedule

Jitter = Callable[[], float]
"""Returns a random number in [0, 1), which spreads requests that are due at the same time."""

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SLOWEST_RETRY: Final = 15 * MINUTE
LONGEST_RETRY_AFTER: Final = HOUR
LONGEST_PAUSE: Final = LONGEST_RETRY_AFTER + SLOWEST_RETRY
"""The longest pause of a destination: the longest Retry-After plus our own longest retry."""


def backoff(attempt: int, jitter: Jitter, retry_after: int | None = None) -> int:
    """Return the pause after so many failures: 1 s, doubling up to 15 min, plus jitter.

    A Retry-After is respected up to an hour and never shortened by jitter.
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

    If the ticket system lists changes every `change_list_interval` milliseconds, reads that would
    be slower than the list become a safety net.
    """
    planned = min(poll.first * poll.factor ** min(polls, 60), poll.slowest)
    if change_list_interval and planned >= change_list_interval:
        planned = poll.safety_net
    return int(planned * (0.9 + 0.2 * jitter()))


def due_at(record: Record, planned: int | None, now: int) -> int | None:
    """Return when the record is due next; None means never by itself.

    It is due at its deadline at the latest, and repeatedly after a deadline that could not be
    handled yet.
    """
    deadline = _deadline(record)
    if deadline is None:
        return planned
    if now >= deadline:
        return now + SLOWEST_RETRY if planned is None else planned
    return deadline if planned is None else min(planned, deadline)


def _deadline(record: Record) -> int | None:
    """Return the deadline that applies now: for the decision, or for the access after it.

    The decision deadline applies in every state before `decided`, held and dead included, and
    fires once. The fulfilment deadline applies while the access is awaited.
    """
    if record.decision is None and record.state is not State.DONE and not record.deadline_fired:
        return record.deadline_at
    awaiting = record.state is State.FULFILLING and record.fulfilment is Fulfilment.WAITING
    return record.fulfil_by if awaiting else None
