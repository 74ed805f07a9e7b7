"""One step of one request: what it may write, and what it does when something goes wrong."""

import logging
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeVar

from proxy.domain.events.base import Event, GivenUp, Held, Postponed
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import ApprovalRequest, Record, State, StoredRequest, Ticket
from proxy.domain.replace import replace
from proxy.domain.route import Route
from proxy.domain.schedule import (
    HOUR,
    LONGEST_RETRY_AFTER,
    MINUTE,
    SECOND,
    backoff,
    due_at,
)
from proxy.engine.bulkhead import Permit
from proxy.engine.context import StepContext
from proxy.engine.lease import Lease
from proxy.errors import (
    ConfigurationError,
    PermanentError,
    ProxyError,
    StoreUnavailableError,
    TemporaryError,
)
from proxy.observability import logs
from proxy.observability.alarms import Alarm
from proxy.store.codec import history_entry
from proxy.tickets.port import TicketSystem
from proxy.witboost.hook_call import approval_request

_log: Final = logging.getLogger("proxy.flow")

_REFUSALS: Final = 2  # in a row, others succeeding in between, before a person must look

Answer = TypeVar("Answer")


class Released(Enum):
    """The type of `RELEASED`, so that mypy finds every place that forgets it."""

    RELEASED = "released"


RELEASED: Final = Released.RELEASED
"""The record was given back to the store: no step follows now."""


@dataclass(frozen=True)
class Step:
    """A claimed record, the time for which it is ours, and the route that applies to it.

    `stored` is the record as the store has it, `entry` as it is after the events that are not
    written yet.
    """

    entry: StoredRequest
    stored: StoredRequest
    lease: Lease
    route: Route
    system: TicketSystem
    context: StepContext
    permit: Permit
    unwritten: tuple[tuple[Event, Record, StoredRequest], ...] = ()

    @property
    def record(self) -> Record:
        """The record after everything that happened so far."""
        return self.entry.record

    @property
    def now(self) -> int:
        """The store's time."""
        return self.lease.earliest_now()

    @property
    def request(self) -> ApprovalRequest:
        """What was asked for, with what the settings know of the requester."""
        return self._request(None)

    @property
    def visible_request(self) -> ApprovalRequest:
        """What the ticket system may see of it."""
        return self._request(self.route.allowed_fields)

    def _request(self, allowed: Collection[str] | None) -> ApprovalRequest:
        record, known = self.record, self.context.identities
        return approval_request(
            record.id, self.entry.payload, record.request_id, known, allowed=allowed
        )

    def with_event(self, event: Event, *, quiet: bool = False) -> "Step":
        """Apply an event that is written together with the next one: nothing was done yet.

        `quiet` leaves no line in the history: for what repeats, such as a read without news.
        """
        after = advance_entry(self.entry, event)
        news = () if quiet else ((event, self.record, after),)
        return replace(self, entry=after, unwritten=self.unwritten + news)

    async def commit(self, event: Event, *, quiet: bool = False) -> "Step":
        """Write the event and stay the one who works on the record.

        Raises:
            Stale: it is not ours any more.
        """
        return await self.with_event(event, quiet=quiet).write("keep")

    async def release(
        self, event: Event | None, due: int | None, *, quiet: bool = False
    ) -> Released:
        """Write the event and give the record back until it is due.

        `due` is in milliseconds since the epoch; None means never by itself.
        """
        step = self.with_event(event, quiet=quiet) if event else self
        await step.write(due_at(step.record, due, self.now))
        return RELEASED

    async def write(self, due: int | Literal["keep"] | None) -> "Step":
        """Write what is not written yet; "keep" keeps the record ours."""
        history = [history_entry(event, after.record) for event, _, after in self.unwritten]
        written = await self.context.store.commit(self.stored, self.entry, history, due=due)
        for event, before, after in self.unwritten:
            self._tell(event, before, after)
        return replace(self, entry=written, stored=written, unwritten=())

    async def hold(self, code: str, reason: str, *, deadline_fired: bool = False) -> Released:
        """Set the request aside for a person."""
        return await self.release(
            Held(at=self.now, code=code, reason=reason, deadline_fired=deadline_fired), None
        )

    async def give_up(self, code: str, reason: str) -> Released:
        """Give the request up; decided, it is kept for the retention time."""
        due = self.now + self.context.policy.retention if self.record.decision else None
        return await self.release(GivenUp(at=self.now, code=code, reason=reason), due)

    async def call(self, question: Awaitable[Answer], what: str, destination: str) -> Answer:
        """Await a call to another system within the lease; an answer ends that system's pause."""
        pauses = self.context.pauses
        try:
            answer = await self.lease.run_within(question, f"{destination}: {what}")
        except StoreUnavailableError:
            raise  # the token is kept there: no fault of the destination
        except TemporaryError as error:
            if not error.queue_timeout:
                await pauses.on_failure(destination, error, by=self.record.id)
            raise
        except PermanentError:
            await pauses.on_answer(destination)
            raise
        finally:
            self.permit.release()
        await pauses.on_success(destination)
        return answer

    async def fetch(self) -> Ticket:
        """Read the ticket, together with others where its system can."""
        read = self.context.reads.fetch(self.system, self.record.ticket_id)
        return await self.call(read, "read", self.system.name)

    async def acquire(self, destination: str) -> bool:
        """Whether the destination may be called now; if not, the record was given back to wait."""
        if not await self.permit.acquire(destination):
            pause = SECOND + int(SECOND * self.context.dice())
            await self.release(None, self.now + pause)
            return False
        if await self.context.pauses.usable(destination):
            return True
        reason = f"{destination} is paused; see its alarm"
        await self._wait(destination, Postponed(at=self.now, code="paused", reason=reason))
        return False

    async def handle_failure(
        self,
        error: ProxyError,
        destination: str,
        *,
        kind: type[Postponed] = Postponed,
        code: str = "unreachable",
        give_up_after: int | None = None,
        in_a_row: int | None = None,
    ) -> Released:
        """Do what an error asks for: pause the destination, try again later, or hold.

        `kind` is the event written for a later try, and `code` says why; `give_up_after` bounds the
        request's own time in it, which a paused destination does not use up, and `in_a_row` what of
        that was spent for this code alone.
        """
        match error:
            case ConfigurationError():
                return await self._refused(error, destination, kind)
            case TemporaryError():
                if await self.context.pauses.paused(destination):  # an outage uses up no attempts
                    event = kind(at=self.now, code="paused", reason=str(error))
                    asked = min(error.retry_after or 0, LONGEST_RETRY_AFTER)
                    return await self._wait(destination, event, again=True, least=asked)
                delay = backoff(self.record.attempt, self.context.dice, error.retry_after)
                event = kind(at=self.now, code=code, reason=str(error), delay=delay)
                return await self.postpone(event, give_up_after=give_up_after, in_a_row=in_a_row)
            case PermanentError():
                return await self.hold("refused", str(error))
            case _:
                raise error

    async def postpone(
        self, event: Postponed, *, give_up_after: int | None, in_a_row: int | None = None
    ) -> Released:
        """Try again after the event's delay, or give up: the request's own time is bounded."""
        after = event.apply(self.record)
        bounds = (
            (after.waited - after.waited_before_code, in_a_row),
            (after.waited, give_up_after),
        )
        for spent, limit in bounds:
            if limit is not None and spent > limit:
                reason = f"Tried for {_days(limit)}: {event.reason}"
                return await self.with_event(event).give_up("gave_up", reason)
        return await self.release(event, self.now + event.delay)

    async def _refused(
        self, error: ConfigurationError, destination: str, kind: type[Postponed]
    ) -> Released:
        """A credential or permission was refused: the destination's fault, or this request's."""
        event = kind(at=self.now, code="paused", reason=str(error), refused=error.request_specific)
        if await self.context.pauses.on_refused_credential(
            destination, error, refused_at=self.record.refused_at
        ):
            return await self._wait(destination, event, again=self.record.refusals > 0)
        if self.record.refusals < _REFUSALS:
            # a token revoked at a bad moment looks the same: once more, and on its own
            return await self.release(
                event, self.now + backoff(self.record.refusals, self.context.dice)
            )
        reason = f"{error}. Other requests succeed, so it is about this one."
        return await self.with_event(event).hold("refused", reason)

    async def _wait(
        self, destination: str, event: Postponed, *, again: bool = False, least: int = 0
    ) -> Released:
        """Let the record wait until the pause is over: who ends it brings back all that wait."""
        pauses, now = self.context.pauses, self.now
        known = self.record.code == event.code and not (event.refused or again)
        step = self.with_event(event, quiet=known)
        pause = max(pauses.next_attempt_in(destination, now, again=again), least)
        due = due_at(step.record, now + pause, now)
        waiting = await step.write(due)
        if await pauses.has_ended(destination):  # it ended before we waited, so nobody saw us
            await waiting.write(now)
        return RELEASED

    def _tell(self, event: Event, before: Record, after: StoredRequest) -> None:
        """Log the event; a person must hear of requests set aside and of contradictions."""
        record = after.record
        says = f"{record.id}: {event.event_code}, now {record.state}"
        logs.info(_log, says, {"state": record.state, "code": record.code})
        named = {"correlation_id": record.id, "destination": record.system}
        if record.state is not before.state and record.state in {State.HELD, State.DEAD}:
            alarm = Alarm.REQUEST_HELD if record.state is State.HELD else Alarm.REQUEST_DEAD
            self.context.alarms.sound(
                alarm, f"Request {record.id} is {record.state}: {after.details.reason}", **named
            )
        if record.conflicts > before.conflicts:
            self.context.alarms.sound(
                Alarm.DECISION_CONFLICT,
                f"Ticket {record.ticket_key} of request {record.id} changed its decision after"
                f" {record.decision} was accepted; the first one stands. Look at the ticket.",
                **named,
            )


def _days(milliseconds: int) -> str:
    hours = milliseconds // HOUR
    if hours >= 2 * 24:
        return f"{hours // 24} days"
    return f"{hours} hours" if hours > 1 else f"{milliseconds // MINUTE} minutes"
