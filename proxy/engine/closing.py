"""After the final status: what the ticket must hear, and what it may still say.

witboost comes first. Only when it has the final status, a ticket that did not decide it is
withdrawn, or told by a comment. A crash may repeat a comment, never lose it.
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

_TELL_FOR: Final = 3 * DAY  # of the request's own time; then a person hears that the ticket did not

_WORDS: Final = {
    Decision.APPROVED: "approved",
    Decision.REJECTED: "rejected",
    Decision.CANCELLED: "cancelled",
    Decision.EXPIRED: "not decided in time",
    Decision.FAILED: "ended without success",
}


async def notify_ticket(step: Step) -> Step | Released:
    """Withdraw the ticket of a request that ended without it, or comment on it."""
    record = step.record
    if not record.ticket_id and step.now < (visible := visible_at(step, record.sent_at)):
        return await step.release(None, visible)
    if not await step.acquire(step.system.name):
        return RELEASED
    try:
        note = await _tell(step)
    except (NotFoundError, ConflictError) as error:
        note = f"nothing to do: {error}"
    except ProxyError as error:
        return await _not_told(step, error)
    return await _rest(step, note)


async def recheck_finished(step: Step) -> Step | Released:
    """Read the ticket of a finished request that changed: a reversal is an alarm, no more."""
    record = step.record
    if (
        record.ticket_id
        and not record.conflicts
        and await step.context.pauses.usable(record.system)
    ):
        try:
            ticket = await step.fetch()
        except ProxyError:
            return await _rest(step)  # it was only a hint, and everything is done
        if not (
            (record.decided_without_ticket or record.trial) and ticket.outcome is Outcome.CANCELLED
        ):
            step = record_reversal(step, ticket)
    return await _rest(step)


async def _tell(step: Step) -> str:
    record, system = step.record, step.system
    ticket_id = record.ticket_id
    if not ticket_id:
        if not system.finds:
            raise PermanentError(f"{system.name} may hold one, and cannot be asked for it")
        found = await step.call(system.find(record.id), "find", system.name)
        if not found:
            return "no ticket was opened"
        ticket_id = found[0].id
    words = _final_words(record, step.entry.details.comment)
    if (record.decided_without_ticket or record.trial) and isinstance(system, Cancels):
        with contextlib.suppress(ConflictError):  # it is decided: then it is told
            await step.call(system.cancel(ticket_id, words), "cancel", system.name)
            return "withdrawn"
    if isinstance(system, Comments):
        await step.call(system.comment(ticket_id, words), "comment", system.name)
        return "commented"
    raise PermanentError(f"{system.name} takes neither comments nor withdrawals")


def _final_words(record: Record, comment: str) -> str:
    assert record.decision is not None
    if record.trial:
        return f"The test {record.id} of the approval proxy is over; nobody got any access by it"
    who = f" by {record.decided_by}" if record.decided_without_ticket and record.decided_by else ""
    why = f": {comment}" if record.decided_without_ticket and comment else ""
    return f"The access request {record.id} was {_WORDS[record.decision]}{who}{why}"


async def _not_told(step: Step, error: ProxyError) -> Step | Released:
    record, name, pauses = step.record, step.system.name, step.context.pauses
    passing, refused = isinstance(error, TemporaryError), False
    if isinstance(error, ConfigurationError):  # the destination's fault, or that of this ticket
        passing = await pauses.on_refused_credential(name, error, refused_at=record.refused_at)
        refused = error.request_specific
    delay = backoff(record.attempt, step.context.dice, getattr(error, "retry_after", None))
    own = 0 if await pauses.paused(name) else delay
    if passing and record.waited + own <= _TELL_FOR:
        event = Postponed(
            at=step.now, code="ticket_untold", reason=str(error), delay=own, refused=refused
        )
        return await step.release(event, step.now + delay)
    step.context.alarms.sound(
        Alarm.TICKET_UNTOLD,
        f"Request {record.id} ended, and its ticket {record.ticket_key or '(unknown)'} could not"
        f" be told: {error}. Close it by hand.",
        correlation_id=record.id,
        destination=name,
    )
    return await _rest(step, f"not told: {error}")


async def _rest(step: Step, note: str = "") -> Step | Released:
    ends = step.record.finished_at + step.context.policy.retention
    return await step.release(TicketNotified(at=step.now, note=note) if note else None, ends)
