"""Closing: the notice to the ticket after the final status, and a last look at a changed ticket.

witboost gets the final status first. After that, a ticket that did not decide the request is
withdrawn or gets a comment. A crash may repeat a comment, but never lose it.
"""

import contextlib
from typing import Final

from proxy.domain.events.base import Postponed
from proxy.domain.events.notifications import TicketNotified
from proxy.domain.models import Decision, Outcome, Record
from proxy.domain.schedule import DAY, backoff
from proxy.engine.creating import visible_at
from proxy.engine.deciding import record_reversal
from proxy.engine.step import RELEASED, Released, Step
from proxy.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    ProxyError,
    TemporaryError,
)
from proxy.observability.alarms import Alarm
from proxy.tickets.port import Cancels, Comments

_NOTIFY_FOR: Final = 3 * DAY
"""How long a failing notice is retried, in the request's own time, before the alarm."""

_PHRASES: Final = {
    Decision.APPROVED: "approved",
    Decision.REJECTED: "rejected",
    Decision.CANCELLED: "cancelled",
    Decision.EXPIRED: "not decided in time",
    Decision.FAILED: "ended without success",
}


async def notify_ticket(step: Step) -> Released:
    """Withdraw the ticket of a request that was decided without it, or comment on it."""
    record = step.record
    if not record.ticket_id and step.now < (visible := visible_at(step, record.sent_at)):
        return await step.release(None, visible)
    if not await step.acquire(step.system.name):
        return RELEASED
    try:
        note = await _notify(step)
    except (NotFoundError, ConflictError) as error:
        note = f"nothing to do: {error}"
    except ProxyError as error:
        return await _on_notify_failure(step, error)
    return await _await_retention(step, note)


async def recheck_finished(step: Step) -> Released:
    """Read the changed ticket of a finished request: a reversal raises an alarm, nothing more."""
    record = step.record
    pauses = step.context.pauses
    if record.ticket_id and not record.conflicts and await pauses.may_call(record.system):
        try:
            ticket = await step.fetch()
        except ProxyError:
            return await _await_retention(step)  # only a hint led here, and the request is done
        withdrawn = record.decided_without_ticket or record.trial
        if not (withdrawn and ticket.outcome is Outcome.CANCELLED):
            step = record_reversal(step, ticket)
    return await _await_retention(step)


async def _notify(step: Step) -> str:
    """Withdraw or comment, and return a note for the history."""
    record, system = step.record, step.system
    ticket_id = record.ticket_id
    if not ticket_id:
        if not system.finds:
            raise PermanentError(f"{system.name} may hold one, and cannot be asked for it")
        tickets = await step.call(system.find(record.id), "find", system.name)
        if not tickets:
            return "no ticket was opened"
        ticket_id = tickets[0].id
    text = _final_text(record, step.entry.details.comment)
    if (record.decided_without_ticket or record.trial) and isinstance(system, Cancels):
        with contextlib.suppress(ConflictError):  # it is decided already: comment instead
            await step.call(system.cancel(ticket_id, text), "cancel", system.name)
            return "withdrawn"
    if isinstance(system, Comments):
        await step.call(system.comment(ticket_id, text), "comment", system.name)
        return "commented"
    raise PermanentError(f"{system.name} takes neither comments nor withdrawals")


def _final_text(record: Record, comment: str) -> str:
    assert record.decision is not None
    if record.trial:
        return f"The test {record.id} of the approval proxy is over; nobody got any access by it"
    decided_without_ticket = record.decided_without_ticket
    who = f" by {record.decided_by}" if decided_without_ticket and record.decided_by else ""
    why = f": {comment}" if decided_without_ticket and comment else ""
    return f"The access request {record.id} was {_PHRASES[record.decision]}{who}{why}"


async def _on_notify_failure(step: Step, error: ProxyError) -> Released:
    """Retry the notice for some days; then raise an alarm and leave the ticket as it is."""
    record, name, pauses = step.record, step.system.name, step.context.pauses
    retry, refused = isinstance(error, TemporaryError), False
    if isinstance(error, ConfigurationError):
        retry = await pauses.on_refused_credential(name, error, refused_at=record.refused_at)
        refused = error.request_specific
    delay = backoff(record.attempt, step.context.jitter, getattr(error, "retry_after", None))
    own_time = 0 if await pauses.paused(name) else delay
    if retry and record.waited + own_time <= _NOTIFY_FOR:
        event = Postponed(
            at=step.now, code="ticket_untold", reason=str(error), delay=own_time, refused=refused
        )
        return await step.release(event, step.now + delay)
    step.context.alarms.sound(
        Alarm.TICKET_UNTOLD,
        f"Request {record.id} ended, and its ticket {record.ticket_key or '(unknown)'} could not"
        f" be notified: {error}. Close it by hand.",
        correlation_id=record.id,
        destination=name,
    )
    return await _await_retention(step, f"not notified: {error}")


async def _await_retention(step: Step, note: str = "") -> Released:
    """Release the finished request until its retention ends."""
    ends = step.record.finished_at + step.context.policy.retention
    return await step.release(TicketNotified(at=step.now, note=note) if note else None, ends)
