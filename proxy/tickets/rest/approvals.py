"""Many approvals of one ticket, made into one outcome: pure."""

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
    """Return what approvals say together; None where one that matters is not understood.

    What is pending waits; what nobody understands waits too, but a person should know. Neither
    ever approves, and cancelled approvals do not count.
    """
    counted = [outcome for outcome in outcomes if outcome is not Outcome.CANCELLED]
    if rule == "final":
        counted = counted[-1:]
    if not counted:
        return Outcome.PENDING
    order = _ANY if rule == "any" else _ALL
    return next(outcome for outcome in order if outcome in counted)


def decided(ticket: Ticket, rule: Rule, approvals: Sequence[Ticket]) -> Ticket:
    """Return the ticket with the outcome of its approvals, and with who gave that.

    Approvals come as what they say of the ticket. Where they leave it open, the ticket may have
    ended without them: closed, for example. It is never approved without them.
    """
    outcome = combined(rule, [approval.outcome for approval in approvals])
    if outcome is Outcome.PENDING and ticket.outcome in _ENDED:
        return ticket
    counted = approvals[-1:] if rule == "final" else approvals
    theirs = [approval for approval in counted if approval.outcome is outcome]
    words = dict.fromkeys(approval.native_status for approval in approvals)
    last = theirs[-1] if theirs else ticket
    return replace(
        ticket,
        outcome=outcome,
        native_status=", ".join(words) or ticket.native_status,
        decided_by=last.decided_by,
        decided_at=last.decided_at,
        comment=last.comment,
        deciders=_each(each.deciders or [each.decided_by] for each in theirs),
        decider_groups=_each(each.decider_groups for each in theirs),
    )


def _each(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, chain.from_iterable(names))))
