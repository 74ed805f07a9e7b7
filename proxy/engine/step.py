"""One step of one request: what it may write, and how it handles a failed call."""

import logging
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeVar

from proxy.domain.durations import format_duration
from proxy.domain.events.base import Event, GivenUp, Held, Postponed
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import ApprovalRequest, Record, State, StoredRequest, Ticket
from proxy.domain.replace import replace
from proxy.domain.route import Route
from proxy.domain.schedule import LONGEST_RETRY_AFTER, SECOND, backoff, due_at
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

_MOST_REFUSALS: Final = 2
"""Refused credentials in a row, while other requests succeed, before a person must look."""

Result = TypeVar("Result")


class Released(Enum):
    """The type of `RELEASED`: with it, mypy finds every place that does not handle a release."""

    RELEASED = "released"


RELEASED: Final = Released.RELEASED
"""The record was given back to the store, so no step follows now."""


@dataclass(frozen=True)
class Step:
    """A claimed request, the lease on it, and the route that applies to it."""

    entry: StoredRequest
    """The request after all events, those not written yet included."""
    stored: StoredRequest
    """The request as the store has it."""
    lease: Lease
    """How long this worker may change the record."""
    route: Route
    """The route under which the request was admitted."""
    system: TicketSystem
    """The ticket system of the route."""
    context: StepContext
    """The objects that every step works with."""
    permit: Permit
    """The permit for the destination that the step uses now."""
    unwritten: tuple[tuple[Event, Record, StoredRequest], ...] = ()
    """Events that are not written yet, each with the state before and after it."""

    @property
    def record(self) -> Record:
        """The record after all events."""
        return self.entry.record

    @property
    def now(self) -> int:
        """The store's time in milliseconds since the epoch."""
        return self.lease.earliest_now()

    @property
    def request(self) -> ApprovalRequest:
        """The whole access request, with what the settings know of the requester."""
        return self._request(None)

    @property
    def visible_request(self) -> ApprovalRequest:
        """The part of the access request that the ticket system may see."""
        return self._request(self.route.allowed_fields)

    def _request(self, allowed: Collection[str] | None) -> ApprovalRequest:
        record, identities = self.record, self.context.identities
        return approval_request(
            record.id, self.entry.payload, record.request_id, identities, allowed=allowed
        )

    # -- writing -------------------------------------------------------------------------------

    def with_event(self, event: Event, *, quiet: bool = False) -> "Step":
        """Apply an event in memory; it is written together with the next one.

        Use it where nothing was sent yet. `quiet` leaves no line in the history: for events that
        repeat, such as a read without a change.
        """
        after = advance_entry(self.entry, event)
        news = () if quiet else ((event, self.record, after),)
        return replace(self, entry=after, unwritten=self.unwritten + news)

    async def commit(self, event: Event, *, quiet: bool = False) -> "Step":
        """Write the event and keep the lease.

        Raises:
            StaleError: another writer has changed or claimed the record.
        """
        return await self.with_event(event, quiet=quiet).write("keep")

    async def release(
        self, event: Event | None, due: int | None, *, quiet: bool = False
    ) -> Released:
        """Write the event and give the record back until it is due.

        `due` is in milliseconds since the epoch; None means that only a deadline, an event or an
        operator makes it due again.
        """
        step = self.with_event(event, quiet=quiet) if event else self
        await step.write(due_at(step.record, due, self.now))
        return RELEASED

    async def write(self, due: int | Literal["keep"] | None) -> "Step":
        """Write all unwritten events; "keep" keeps the lease and the due time."""
        history = [history_entry(event, after.record) for event, _, after in self.unwritten]
        written = await self.context.store.commit(self.stored, self.entry, history, due=due)
        for event, before, after in self.unwritten:
            self._report(event, before, after)
        return replace(self, entry=written, stored=written, unwritten=())

    async def hold(self, code: str, reason: str, *, deadline_fired: bool = False) -> Released:
        """Hold the request until a person has looked at it."""
        held = Held(at=self.now, code=code, reason=reason, deadline_fired=deadline_fired)
        return await self.release(held, None)

    async def give_up(self, code: str, reason: str) -> Released:
        """Give the request up; if it is decided, it is kept for the retention time."""
        due = self.now + self.context.policy.retention if self.record.decision else None
        return await self.release(GivenUp(at=self.now, code=code, reason=reason), due)

    # -- calling another system ----------------------------------------------------------------

    async def acquire(self, destination: str) -> bool:
        """Reserve a call to the destination, or release the record until it is available."""
        if not await self.permit.acquire(destination):
            pause = SECOND + int(SECOND * self.context.jitter())
            await self.release(None, self.now + pause)
            return False
        if await self.context.pauses.may_call(destination):
            return True
        reason = f"{destination} is paused; see its alarm"
        paused = Postponed(at=self.now, code="paused", reason=reason)
        await self._await_destination(destination, paused)
        return False

    async def call(self, call: Awaitable[Result], what: str, destination: str) -> Result:
        """Await a call to another system within the lease; any answer ends that system's pause."""
        pauses = self.context.pauses
        try:
            result = await self.lease.run_within(call, f"{destination}: {what}")
        except StoreUnavailableError:
            raise  # tokens are kept in the store: not a failure of the destination
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
        return result

    async def fetch(self) -> Ticket:
        """Read the ticket, together with others where the ticket system can."""
        read = self.context.ticket_loader.fetch(self.system, self.record.ticket_id)
        return await self.call(read, "read", self.system.name)

    # -- when a call failed --------------------------------------------------------------------

    async def handle_failure(
        self,
        error: ProxyError,
        destination: str,
        *,
        kind: type[Postponed] = Postponed,
        code: str = "unreachable",
        give_up_after: int | None = None,
        give_up_code_after: int | None = None,
    ) -> Released:
        """Do what the error asks for: pause the destination, retry later, or hold the request.

        `kind` is the event that is written for a retry and `code` its reason. The two limits are
        milliseconds of the request's own time: for all failures of this state, and for failures in
        a row with this code.
        """
        match error:
            case ConfigurationError():
                return await self._on_refused_credential(error, destination, kind)
            case TemporaryError():
                if await self.context.pauses.paused(destination):  # an outage costs no attempts
                    event = kind(at=self.now, code="paused", reason=str(error))
                    least = min(error.retry_after or 0, LONGEST_RETRY_AFTER)
                    return await self._await_destination(
                        destination, event, failed_probe=True, least=least
                    )
                delay = backoff(self.record.attempt, self.context.jitter, error.retry_after)
                event = kind(at=self.now, code=code, reason=str(error), delay=delay)
                return await self.postpone(
                    event, give_up_after=give_up_after, give_up_code_after=give_up_code_after
                )
            case PermanentError():
                return await self.hold("refused", str(error))
            case _:
                raise error

    async def postpone(
        self,
        event: Postponed,
        *,
        give_up_after: int | None,
        give_up_code_after: int | None = None,
    ) -> Released:
        """Retry after the event's delay, or give up if that would exceed one of the limits."""
        after = event.apply(self.record)
        limits = (
            (after.waited - after.waited_before_code, give_up_code_after),
            (after.waited, give_up_after),
        )
        for waited, limit in limits:
            if limit is not None and waited > limit:
                reason = f"Tried for {format_duration(limit)}: {event.reason}"
                return await self.with_event(event).give_up("gave_up", reason)
        return await self.release(event, self.now + event.delay)

    async def _on_refused_credential(
        self, error: ConfigurationError, destination: str, kind: type[Postponed]
    ) -> Released:
        """Pause the destination, or hold this request if only this request is refused."""
        record, pauses = self.record, self.context.pauses
        event = kind(at=self.now, code="paused", reason=str(error), refused=error.request_specific)
        if await pauses.on_refused_credential(destination, error, refused_at=record.refused_at):
            return await self._await_destination(
                destination, event, failed_probe=record.refusals > 0
            )
        if record.refusals < _MOST_REFUSALS:
            # A token that was revoked between two calls looks the same, so this one is retried.
            pause = backoff(record.refusals, self.context.jitter)
            return await self.release(event, self.now + pause)
        reason = f"{error}. Other requests succeed, so it is about this one."
        return await self.with_event(event).hold("refused", reason)

    async def _await_destination(
        self, destination: str, event: Postponed, *, failed_probe: bool = False, least: int = 0
    ) -> Released:
        """Release the record until the pause of the destination ends.

        The process that ends the pause makes all waiting requests due.
        """
        pauses, now = self.context.pauses, self.now
        repeated = self.record.code == event.code and not (event.refused or failed_probe)
        step = self.with_event(event, quiet=repeated)
        pause = max(pauses.next_attempt_in(destination, now, failed_probe=failed_probe), least)
        waiting = await step.write(due_at(step.record, now + pause, now))
        if await pauses.has_ended(destination):
            # It ended before this record was written, so nobody made this record due.
            await waiting.write(now)
        return RELEASED

    def _report(self, event: Event, before: Record, after: StoredRequest) -> None:
        """Log the event; raise an alarm for held and dead requests and for contradictions."""
        record = after.record
        message = f"{record.id}: {event.event_code}, now {record.state}"
        logs.info(_log, message, {"state": record.state, "code": record.code})
        about = {"correlation_id": record.id, "destination": record.system}
        if record.state is not before.state and record.state in {State.HELD, State.DEAD}:
            alarm = Alarm.REQUEST_HELD if record.state is State.HELD else Alarm.REQUEST_DEAD
            self.context.alarms.sound(
                alarm, f"Request {record.id} is {record.state}: {after.details.reason}", **about
            )
        if record.conflicts > before.conflicts:
            self.context.alarms.sound(
                Alarm.DECISION_CONFLICT,
                f"Ticket {record.ticket_key} of request {record.id} changed its decision after"
                f" {record.decision} was accepted; the first one stands. Look at the ticket.",
                **about,
            )
