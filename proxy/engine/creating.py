"""When the answer to a create was lost: exactly one ticket, all the same.

The intent and the time of sending were stored before. The create is never repeated before a ticket
must be visible; only a look-up by correlation id after that proves that there is none.
"""

from collections.abc import Awaitable, Callable

from proxy.domain.events.base import Postponed
from proxy.domain.events.recovery import CreateInDoubt
from proxy.domain.events.ticket import CreateNotSent, Decided, TicketOpened
from proxy.domain.models import Decision, Ticket
from proxy.domain.schedule import backoff
from proxy.engine.step import RELEASED, Released, Step
from proxy.errors import ConflictError, PermanentError, ProxyError
from proxy.observability.alarms import Alarm

Act = Callable[[Step], Awaitable[Step | Released]]


def visible_at(step: Step, since: int) -> int:
    """Return when the ticket of a create that was sent at `since` must be visible."""
    return since + step.system.deadline + step.system.settle


async def await_visibility(step: Step, error: ProxyError) -> Step | Released:
    """Wait until a ticket must be visible, before looking for it; longer each time it happens."""
    now = step.now
    pause = backoff(step.record.attempt, step.context.dice, getattr(error, "retry_after", None))
    delay = max(visible_at(step, step.record.sent_at) - now, pause)
    event = Postponed(at=now, code="create_in_doubt", reason=str(error), delay=delay)
    return await step.postpone(event, give_up_after=step.context.policy.create_for)


def suspect_lost_create(step: Step) -> Step:
    """Doubt that no create was sent, where the store may have lost the intent of one.

    It can have been sent until now: a replica takes its master's place without a start of its own.
    """
    record, run_id = step.record, step.lease.run_id
    same = not (run_id and record.run_id) or run_id == record.run_id
    if same or not record.may_have_unknown_ticket:
        return step
    reason = "The store was restarted, failed over or restored: it may have forgotten a create"
    return step.with_event(CreateInDoubt(at=step.lease.latest_now(), run_id=run_id, reason=reason))


async def resolve_in_doubt(step: Step, *, create: Act) -> Step | Released:
    """Find the ticket of a create that may have been sent, or create it after all.

    A system that can neither be asked nor told to take a repeat leaves the doubt to a person.
    """
    system = step.system
    if system.finds and step.now < (visible := visible_at(step, step.record.sent_at)):
        return await step.release(None, visible)
    if system.finds:
        return await look_up(step, otherwise=create)
    if system.idempotent:
        return await create(step)
    return await step.hold(
        "create_in_doubt",
        f"{system.name} may have created a ticket whose answer was lost, and it cannot be asked."
        f" Look for {step.record.id} there: attach the ticket, or retry with --no-ticket-exists.",
    )


async def look_up(step: Step, *, otherwise: Act) -> Step | Released:
    """Follow the ticket that carries our correlation id; where there is none, do the other."""
    system = step.system
    if not await step.acquire(system.name):
        return RELEASED
    try:
        tickets = await step.call(system.find(step.record.id), "find", system.name)
    except ProxyError as error:
        return await step.handle_failure(error, system.name)
    if not tickets:
        return await otherwise(step)
    if len(tickets) > 1:
        keys = ", ".join(ticket.key for ticket in tickets)
        step.context.alarms.sound(
            Alarm.SEVERAL_TICKETS,
            f"{system.name} has several tickets for request {step.record.id}: {keys}. The oldest"
            " one is followed; close the others.",
            correlation_id=step.record.id,
            destination=system.name,
        )
    return await adopt_ticket(step, tickets[0], how="found")


async def adopt_ticket(step: Step, ticket: Ticket, *, how: str) -> Step | Released:
    """Store the ticket; it is read soon, because an event may have come before we knew it."""
    if ticket.note:
        step.context.alarms.sound(
            Alarm.TICKET_NOT_AS_WANTED,
            f"Ticket {ticket.key} of request {step.record.id} was opened, but {ticket.note}",
            correlation_id=step.record.id,
            destination=step.system.name,
        )
    event = TicketOpened(at=step.now, ticket=ticket, how=how)
    return await step.release(event, step.now + step.route.poll.first)


async def refused(step: Step, error: PermanentError) -> Step | Released:
    """The system understood the create and refused it for good: no ticket, for certain.

    A conflict may be with a ticket of ours that came later than anything may: look once more.
    """
    if isinstance(error, ConflictError) and step.system.finds:
        return await look_up(step, otherwise=lambda step: _no_ticket(step, error))
    return await _no_ticket(step, error)


async def _no_ticket(step: Step, error: PermanentError) -> Step | Released:
    reason = f"{step.system.name} refused to create the ticket: {error}"
    step = step.with_event(CreateNotSent(at=step.now, code="refused", reason=reason))
    if step.route.on_refusal == "fail":
        failed = Decided(at=step.now, decision=Decision.FAILED, comment=reason, evidence=reason)
        return step.with_event(failed)
    return await step.give_up("refused", reason)
