"""What a ticket says, and what is decided when it says nothing in time.

The first decision wins. A status that the map does not know means pending, never approved; a
ticket that is not shown is never a decision.
"""

from collections.abc import Sequence
from typing import Final

from proxy.domain.events.ticket import Decided, Fulfilled, TicketMissing, TicketRead
from proxy.domain.guards import GUARDED, objections
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

AT_ONCE: Final = {"approve": Decision.APPROVED, "reject": Decision.REJECTED}


async def decide_at_once(step: Step) -> Step | Released:
    """Do what the route says without any ticket: approve, reject, or let a person look."""
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


def accept_outcome(step: Step, ticket: Ticket) -> Decided | None:
    """Return the ticket's outcome as a decision, or None if the ticket is still pending.

    An unknown native status means pending; it sounds an alarm once.
    """
    decision = DECISIONS.get(ticket.outcome) if ticket.outcome else None
    if decision is None:
        if ticket.outcome is None and ticket.native_status != step.record.native_status:
            _alarm_unknown_status(step, ticket)
        return None
    return _decided(step, ticket, decision)


def guard_violations(step: Step, ticket: Ticket) -> list[str]:
    """Return what the route's guards hold against an approval; nothing against any other word.

    A trial gives nobody any access, so whoever approves it may.
    """
    record = step.record
    if ticket.outcome is not Outcome.APPROVED or record.trial:
        return []
    return objections(
        step.route.guards,
        step.request,
        ticket,
        key_fields=record.key_fields,
        identities=step.context.identities,
    )


async def hold_approval(step: Step, objections: Sequence[str]) -> Step | Released:
    """Set an approval aside: an operator releases or rejects it."""
    who = f"Ticket {step.record.ticket_key} is approved, but {'; '.join(objections)}."
    return await step.hold(GUARDED, f"{who} `requests release` it, or `requests reject` it.")


def record_reversal(step: Step, ticket: Ticket) -> Step:
    """Count and sound an alarm when a decided ticket says something else now; nothing more."""
    decision = DECISIONS.get(ticket.outcome) if ticket.outcome else None
    news = ticket.native_status != step.record.native_status
    if decision is None or decision is step.record.decision or not news:
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


async def wait(step: Step, ticket: Ticket) -> Step | Released:
    """Read the ticket again after a pause that grows with every read."""
    pause = poll_pause(
        step.record.polls,
        step.route.poll,
        step.context.dice,
        listed_every=step.context.listed.get(step.system.name, 0),
    )
    known = (step.record.native_status, step.record.ticket_key)
    quiet = (ticket.native_status, ticket.key or step.record.ticket_key) == known
    return await step.release(TicketRead(at=step.now, ticket=ticket), step.now + pause, quiet=quiet)


async def ticket_missing(step: Step, error: NotFoundError) -> Step | Released:
    """A known ticket is not there: deleted, moved or hidden. Look again, then hold."""
    if step.record.missing + 1 >= step.context.policy.missing_reads:
        return await step.hold("ticket_missing", str(error))
    pause = poll_pause(step.record.missing, step.route.poll, step.context.dice)
    event = TicketMissing(at=step.now, code="ticket_missing", reason=str(error), delay=pause)
    return await step.release(event, step.now + pause)


async def on_decision_deadline(step: Step) -> Step | Released:
    """The time for a decision is over: ask once more, then decide without the ticket.

    A create in doubt is looked up first, none is opened any more. While the ticket cannot be read,
    the request waits, with an alarm.
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
        return await step.handle_failure(as_temporary(error), system.name)
    if guard_violations(step, ticket):
        return await _expire(step)
    if decided := accept_outcome(step, ticket):
        return step.with_event(decided)
    return await _expire(step)


async def fulfilment_unread(step: Step, error: ProxyError) -> Step | Released:
    """Approved, and the ticket cannot be read: wait, but for one that is gone not for ever."""
    if step.now >= step.record.fulfil_by:
        if isinstance(error, PermanentError):
            return await on_fulfilment_deadline(step)
        _alarm_unreadable(step, "fulfilment", error)
    return await step.handle_failure(as_temporary(error), step.system.name)


async def on_fulfilment_deadline(step: Step) -> Step | Released:
    """Approved, but the access is not there in time: a person looks, or the status is KO."""
    if step.route.on_fulfilment_deadline == "hold":
        return await step.hold("fulfilment_deadline", "Approved, but not fulfilled in time")
    return step.with_event(Fulfilled(at=step.now, fulfilment=Fulfilment.FAILED))


def as_temporary(error: ProxyError) -> ProxyError:
    """Return the error as one that is worth a later try; a wrong setting stays what it is."""
    return TemporaryError(str(error)) if isinstance(error, PermanentError) else error


async def _expire(step: Step) -> Step | Released:
    reason = "No decision before the deadline"
    if step.route.on_deadline == "hold":
        return await step.hold("decision_deadline", reason, deadline_fired=True)
    expired = Decision.EXPIRED if step.route.on_deadline == "reject" else Decision.FAILED
    return step.with_event(
        Decided(at=step.now, decision=expired, evidence=reason, without_ticket=True)
    )


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
