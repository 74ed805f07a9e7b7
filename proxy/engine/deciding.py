"""Deciding: the outcome of the ticket, the guards of the route, and the deadlines.

The first decision wins. An unknown native status means pending, never approved. A ticket that is
not found is never a decision.
"""

from collections.abc import Sequence
from typing import Final

from proxy.domain.events.ticket import Decided, Fulfilled, TicketMissing, TicketRead
from proxy.domain.guards import GUARDED, violations
from proxy.domain.models import Decision, Fulfilment, Outcome, Ticket
from proxy.domain.schedule import poll_pause
from proxy.engine.creating import look_up, visible_at
from proxy.engine.step import RELEASED, Released, Step
from proxy.errors import NotFoundError, PermanentError, ProxyError, TemporaryError
from proxy.observability.alarms import Alarm

DECISIONS: Final = {
    Outcome.APPROVED: Decision.APPROVED,
    Outcome.REJECTED: Decision.REJECTED,
    Outcome.CANCELLED: Decision.CANCELLED,
    Outcome.FAILED: Decision.FAILED,
}
"""The decision that each final outcome of a ticket becomes."""

AT_ONCE: Final = {"approve": Decision.APPROVED, "reject": Decision.REJECTED}
"""The decision of a route that decides without a ticket."""


async def decide_at_once(step: Step) -> Step | Released:
    """Decide as the route says, without a ticket: approve, reject, or hold for a person."""
    route = step.route
    decision = AT_ONCE.get(route.decide)
    if decision is None:
        return await step.hold("unroutable", route.reason)
    return step.with_event(
        Decided(
            at=step.now,
            decision=decision,
            by=f"route {route.name}",
            comment=route.reason,
            evidence=f"route {route.name}",
            without_ticket=True,
        )
    )


# -- the outcome of the ticket -----------------------------------------------------------------


def accept_outcome(step: Step, ticket: Ticket) -> Decided | None:
    """Return the ticket's outcome as a decision, or None if the ticket is still pending.

    An unknown native status counts as pending and raises an alarm once.
    """
    decision = DECISIONS.get(ticket.outcome) if ticket.outcome else None
    if decision is None:
        if ticket.outcome is None and ticket.native_status != step.record.native_status:
            _alarm_unknown_status(step, ticket)
        return None
    return _decided(step, ticket, decision)


def guard_violations(step: Step, ticket: Ticket) -> list[str]:
    """Return the guard violations of an approval; other outcomes are not guarded.

    A trial gives nobody access, so its approval is not guarded either.
    """
    record = step.record
    if ticket.outcome is not Outcome.APPROVED or record.trial:
        return []
    return violations(
        step.route.guards,
        step.request,
        ticket,
        key_fields=record.key_fields,
        identities=step.context.identities,
    )


async def hold_approval(step: Step, violations: Sequence[str]) -> Released:
    """Hold an approval that a guard objects to, until an operator releases or rejects it."""
    reason = f"Ticket {step.record.ticket_key} is approved, but {'; '.join(violations)}."
    return await step.hold(GUARDED, f"{reason} `requests release` it, or `requests reject` it.")


def record_reversal(step: Step, ticket: Ticket) -> Step:
    """Count a ticket that contradicts the accepted decision, and raise an alarm; change nothing."""
    decision = DECISIONS.get(ticket.outcome) if ticket.outcome else None
    changed = ticket.native_status != step.record.native_status
    if decision is None or decision is step.record.decision or not changed:
        return step
    return step.with_event(_decided(step, ticket, decision))


def _decided(step: Step, ticket: Ticket, decision: Decision) -> Decided:
    return Decided(
        at=step.now,
        decision=decision,
        by=ticket.decided_by,
        native_status=ticket.native_status,
        comment=ticket.comment,
        evidence=f"{step.system.name} {ticket.key}: {ticket.native_status}",
    )


# -- the ticket is still pending, or not found -------------------------------------------------


async def read_again_later(step: Step, ticket: Ticket) -> Released:
    """Read the ticket again after a pause that grows with every read."""
    record = step.record
    pause = poll_pause(
        record.polls,
        step.route.poll,
        step.context.jitter,
        change_list_interval=step.context.change_list_intervals.get(step.system.name, 0),
    )
    unchanged = (ticket.native_status, ticket.key or record.ticket_key) == (
        record.native_status,
        record.ticket_key,
    )
    read = TicketRead(at=step.now, ticket=ticket)
    return await step.release(read, step.now + pause, quiet=unchanged)


async def ticket_missing(step: Step, error: NotFoundError) -> Released:
    """Read a ticket that was not found a few times more, then hold the request.

    It may have been deleted, moved, or hidden from our account.
    """
    if step.record.missing + 1 >= step.context.policy.missing_reads:
        return await step.hold("ticket_missing", str(error))
    pause = poll_pause(step.record.missing, step.route.poll, step.context.jitter)
    event = TicketMissing(at=step.now, code="ticket_missing", reason=str(error), delay=pause)
    return await step.release(event, step.now + pause)


# -- deadlines ---------------------------------------------------------------------------------


async def on_decision_deadline(step: Step) -> Step | Released:
    """Read the ticket once more, then decide without it.

    A create in doubt is looked up first; no ticket is opened any more. While the ticket cannot be
    read, the request waits and an alarm is raised.
    """
    record, system = step.record, step.system
    if not record.ticket_id and record.sent_at and system.finds:
        if step.now < (visible := visible_at(step, record.sent_at)):
            return await step.release(None, visible)
        return await look_up(step, otherwise=_expire)
    if not record.ticket_id:
        return await _expire(step)
    if not await step.acquire(system.name):
        return RELEASED
    try:
        ticket = await step.fetch()
    except ProxyError as error:
        _alarm_unreadable(step, "decision", error)
        return await step.handle_failure(_as_temporary(error), system.name)
    if guard_violations(step, ticket):
        return await _expire(step)
    if decided := accept_outcome(step, ticket):
        return step.with_event(decided)
    return await _expire(step)


async def on_fulfilment_unreadable(step: Step, error: ProxyError) -> Step | Released:
    """Retry the read of an approved ticket; a permanent error ends at the fulfilment deadline."""
    if step.now >= step.record.fulfil_by:
        if isinstance(error, PermanentError):
            return await on_fulfilment_deadline(step)
        _alarm_unreadable(step, "fulfilment", error)
    return await step.handle_failure(_as_temporary(error), step.system.name)


async def on_fulfilment_deadline(step: Step) -> Step | Released:
    """Hold or fail an approved request whose access was not given in time, as the route says."""
    if step.route.on_fulfilment_deadline == "hold":
        return await step.hold("fulfilment_deadline", "Approved, but not fulfilled in time")
    return step.with_event(Fulfilled(at=step.now, fulfilment=Fulfilment.FAILED))


async def _expire(step: Step) -> Step | Released:
    """Hold, reject or fail a request that was not decided in time, as the route says."""
    reason = "No decision before the deadline"
    if step.route.on_deadline == "hold":
        return await step.hold("decision_deadline", reason, deadline_fired=True)
    decision = Decision.EXPIRED if step.route.on_deadline == "reject" else Decision.FAILED
    return step.with_event(
        Decided(at=step.now, decision=decision, evidence=reason, without_ticket=True)
    )


def _as_temporary(error: ProxyError) -> ProxyError:
    """Return a permanent error as one that is worth a retry; other errors stay as they are."""
    return TemporaryError(str(error)) if isinstance(error, PermanentError) else error


def _alarm_unreadable(step: Step, which: str, error: ProxyError) -> None:
    record = step.record
    step.context.alarms.sound(
        Alarm.TICKET_UNREADABLE_AT_DEADLINE,
        f"Ticket {record.ticket_key} cannot be read although the {which} deadline of request"
        f" {record.id} has passed: {error}",
        correlation_id=record.id,
        destination=step.system.name,
    )


def _alarm_unknown_status(step: Step, ticket: Ticket) -> None:
    step.context.alarms.sound(
        Alarm.UNKNOWN_NATIVE_STATUS,
        f"Ticket {ticket.key} has the status {ticket.native_status!r}, which the decision map of"
        f" {step.system.name} does not know; the request stays pending. Add it to the map.",
        correlation_id=step.record.id,
        destination=step.system.name,
    )
