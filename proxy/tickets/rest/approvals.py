"""REST approvals: the outcome that several approvals of a ticket have together; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, Literal

from proxy.domain.models import Outcome, Ticket

Rule = Literal["all", "any", "final"]

_ANY: Final = (Outcome.APPROVED, None, Outcome.PENDING, Outcome.REJECTED, Outcome.FAILED)
_ALL: Final = (Outcome.REJECTED, Outcome.FAILED, None, Outcome.PENDING, Outcome.APPROVED)
_ENDED: Final = frozenset({Outcome.REJECTED, Outcome.CANCELLED, Outcome.FAILED})


def combined(rule: Rule, outcomes: Sequence[Outcome | None]) -> Outcome | None:
    """Return the outcome of all approvals together; None if an unknown status matters for it.

    A pending approval waits; one with an unknown status (None) waits too, but with an alarm.
    Neither ever approves, and cancelled approvals do not count.
    """
    counted = [outcome for outcome in outcomes if outcome is not Outcome.CANCELLED]
    if rule == "final":
        counted = counted[-1:]
    if not counted:
        return Outcome.PENDING
    order = _ANY if rule == "any" else _ALL
    return next(outcome for outcome in order if outcome in counted)


def decided(ticket: Ticket, rule: Rule, approvals: Sequence[Ticket]) -> Ticket:
    """Return the ticket with the outcome of its approvals and the people who decided.

    Each approval is a copy of the ticket with its own outcome. While they are pending, the ticket
    may have ended without them, closed for example; it is never approved without them.
    """
    outcome = combined(rule, [approval.outcome for approval in approvals])
    if outcome is Outcome.PENDING and ticket.outcome in _ENDED:
        return ticket
    counted = approvals[-1:] if rule == "final" else approvals
    theirs = [approval for approval in counted if approval.outcome is outcome]
    statuses = dict.fromkeys(approval.native_status for approval in approvals)
    last = theirs[-1] if theirs else ticket
    return replace(
        ticket,
        outcome=outcome,
        native_status=", ".join(statuses) or ticket.native_status,
        decided_by=last.decided_by,
        decided_at=last.decided_at,
        comment=last.comment,
        deciders=_distinct(approval.deciders or [approval.decided_by] for approval in theirs),
        decider_groups=_distinct(approval.decider_groups for approval in theirs),
    )


def _distinct(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, chain.from_iterable(names))))
