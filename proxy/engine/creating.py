"""Creating the ticket: exactly one, also after a lost answer.

The intent and the time of sending are stored before each create. A create whose answer was lost is
not repeated before its ticket must be visible: sending time, request deadline and settle time
together. Only a look-up by correlation id after that moment proves that no ticket exists.
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

NextStep = Callable[[Step], Awaitable[Step | Released]]


def visible_at(step: Step, sent_at: int) -> int:
    """Return the time from which the ticket of a create sent at `sent_at` must be visible."""
    return sent_at + step.system.deadline + step.system.settle


async def await_visibility(step: Step, error: ProxyError) -> Released:
    """Wait until the ticket must be visible, longer with each failure, before the look-up."""
    now = step.now
    pause = backoff(step.record.attempt, step.context.jitter, getattr(error, "retry_after", None))
    delay = max(visible_at(step, step.record.sent_at) - now, pause)
    event = Postponed(at=now, code="create_in_doubt", reason=str(error), delay=delay)
    return await step.postpone(event, give_up_after=step.context.policy.create_for)


def suspect_lost_create(step: Step) -> Step:
    """Record a doubt if the store may have lost the intent of a create.

    It may have if another server answers than at the admission. The create may have been sent at
    any time until now, because a replica takes over without a restart of its own.
    """
    record, run_id = step.record, step.lease.run_id
    same_server = not (run_id and record.run_id) or run_id == record.run_id
    if same_server or not record.may_have_unknown_ticket:
        return step
    reason = "The store was restarted, failed over or restored: it may have forgotten a create"
    return step.with_event(CreateInDoubt(at=step.lease.latest_now(), run_id=run_id, reason=reason))


async def resolve_in_doubt(step: Step, *, create: NextStep) -> Step | Released:
    """Find the ticket of a create that may have been sent, or create it now.

    Where the ticket system offers neither a look-up nor an idempotency key, a person must look.
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


async def look_up(step: Step, *, otherwise: NextStep) -> Step | Released:
    """Adopt the ticket that carries our correlation id; if none does, continue with `otherwise`."""
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


async def adopt_ticket(step: Step, ticket: Ticket, *, how: str) -> Released:
    """Store the ticket and read it soon: an event may have arrived before its key was stored."""
    if ticket.note:
        step.context.alarms.sound(
            Alarm.TICKET_NOT_AS_WANTED,
            f"Ticket {ticket.key} of request {step.record.id} was opened, but {ticket.note}",
            correlation_id=step.record.id,
            destination=step.system.name,
        )
    event = TicketOpened(at=step.now, ticket=ticket, how=how)
    return await step.release(event, step.now + step.route.poll.first)


async def on_create_refused(step: Step, error: PermanentError) -> Step | Released:
    """Accept that the ticket system refused the create, so that no ticket exists.

    A conflict may be with our own ticket, delivered later than expected: look it up first.
    """
    if isinstance(error, ConflictError) and step.system.finds:
        return await look_up(step, otherwise=lambda step: _no_ticket(step, error))
    return await _no_ticket(step, error)


async def _no_ticket(step: Step, error: PermanentError) -> Step | Released:
    """Fail the request, or give it up, as the route says."""
    reason = f"{step.system.name} refused to create the ticket: {error}"
    step = step.with_event(CreateNotSent(at=step.now, code="refused", reason=reason))
    if step.route.on_refusal == "fail":
        failed = Decided(at=step.now, decision=Decision.FAILED, comment=reason, evidence=reason)
        return step.with_event(failed)
    return await step.give_up("refused", reason)
