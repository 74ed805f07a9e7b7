"""The actions of operators on a request, each with a reason for its history."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import orjson

from proxy.domain.events.base import ACTIVE, Event
from proxy.domain.events.operator import Refreshed, Rerouted, Retried
from proxy.domain.events.ticket import Decided, Fulfilled, TicketOpened
from proxy.domain.guards import GUARDED
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import TRIAL, Decision, Fulfilment, Outcome, State, StoredRequest
from proxy.domain.schedule import MINUTE, due_at
from proxy.engine.routes import Routes
from proxy.engine.trials import test_fields
from proxy.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    StaleError,
    SupersededError,
    TemporaryError,
)
from proxy.store.codec import history_entry
from proxy.store.requests import Admission, RequestStore
from proxy.tickets.declaring.sanitize import LONGEST_REFERENCE, reference
from proxy.witboost.hook_call import approval_request

_ATTEMPTS = 5


class OperatorActions:
    """The actions of operators; each raises the fence, so that a worker's late write is refused."""

    def __init__(self, *, store: RequestStore, routes: Routes) -> None:
        self._store = store
        self._routes = routes

    async def allowed_fields(self, entry: StoredRequest) -> Collection[str] | None:
        """Return the fields of a hook call that may be shown; None means all, empty if in doubt."""
        try:
            route, _ = await self._routes.for_record(entry.record)
        except ConfigurationError:
            return ()
        return route.allowed_fields

    async def retry(
        self, correlation_id: str, *, by: str, reason: str, no_ticket_exists: bool = False
    ) -> StoredRequest:
        """Send a held or dead request back to the state it came from.

        Raises:
            NotFoundError: no such request.
            InvalidRequestError: it is neither held nor dead; a newer request has its URL; or a
                ticket may exist, which only a person can know.
        """

        async def decide(entry: StoredRequest) -> Event:
            record = entry.record
            if record.state not in {State.HELD, State.DEAD}:
                raise InvalidRequestError(
                    f"state: request {record.id} is {record.state}; only held and"
                    " dead requests can be retried"
                )
            doubt = record.resume_state is State.OPENING and not record.ticket_id and record.sent_at
            _, system = await self._routes.for_record(record)
            if doubt and not no_ticket_exists and not (system.finds or system.idempotent):
                raise InvalidRequestError(
                    f"noTicketExists: {system.name} may have created a ticket for {record.id} and"
                    " cannot be asked. Attach the ticket, or say that no ticket exists."
                )
            return Retried(
                at=await self._store.now(), by=by, reason=reason, no_ticket=no_ticket_exists
            )

        return await self._act(correlation_id, decide)

    async def attach(
        self, correlation_id: str, ticket: str, *, by: str, reason: str
    ) -> StoredRequest:
        """Attach a ticket that an operator found, by an id or key that the ticket system knows.

        Raises:
            NotFoundError: no such request, or no such ticket.
            InvalidRequestError: the request has a ticket or a decision; a newer request has its
                URL; the ticket belongs to another request; or the text is not an id or key.
        """
        if not reference(ticket):
            raise InvalidRequestError(
                "ticketKey must be the id or key of a ticket: one line of at most"
                f" {LONGEST_REFERENCE} visible characters"
            )

        async def decide(entry: StoredRequest) -> Event:
            record = entry.record
            if record.decision or record.ticket_id:
                raise InvalidRequestError(
                    f"state: request {record.id} has a ticket or a decision already"
                )
            _, system = await self._routes.for_record(record)
            attached = await system.fetch(ticket)
            holder = await self._store.reserve(system.name, attached.id, record.id, keep=MINUTE)
            owners = await self._store.find(system.name, [attached.id])
            values = attached.correlation_values
            named = [value for value in values if await self._store.load(value)]
            if others := {holder, *owners, *named} - {record.id}:
                raise InvalidRequestError(
                    f"ticketKey: {attached.key} is the ticket of request {', '.join(others)}"
                )
            return TicketOpened(
                at=await self._store.now(), ticket=attached, how=f"attached by {by}: {reason}"
            )

        return await self._act(correlation_id, decide)

    async def release(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Accept an approval that a guard holds, if the ticket still shows it.

        For an approved request that awaits its access, it confirms that the access was given.

        Raises:
            NotFoundError: no such request, or no such ticket.
            InvalidRequestError: it awaits neither a guard nor its access, or is not approved now.
        """

        async def decide(entry: StoredRequest) -> Event:
            record = entry.record
            if record.fulfilment is Fulfilment.WAITING:
                return await self._fulfilled(Fulfilment.FULFILLED, by=by, reason=reason)
            if record.state is not State.HELD or record.code != GUARDED:
                raise InvalidRequestError(
                    f"state: no guard holds request {record.id}, which is {record.state}"
                )
            _, system = await self._routes.for_record(record)
            ticket = await system.fetch(record.ticket_id)
            if ticket.outcome is not Outcome.APPROVED:
                raise InvalidRequestError(
                    f"state: ticket {ticket.key} is {ticket.native_status!r} now, which is no"
                    " approval that could be released"
                )
            return Decided(
                at=await self._store.now(),
                decision=Decision.APPROVED,
                by=ticket.decided_by,
                native_status=ticket.native_status,
                comment=ticket.comment,
                evidence=f"{system.name} {ticket.key}: {ticket.native_status}; released by {by}",
                reason=reason,
            )

        return await self._act(correlation_id, decide)

    async def reject(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Reject the request without its ticket, which is withdrawn or gets a comment.

        For an approved request that awaits its access, it confirms that the access was not given.

        Raises:
            NotFoundError: no such request.
            InvalidRequestError: the request is decided already, and awaits no access.
        """
        return await self._end(correlation_id, Decision.REJECTED, by=by, reason=reason)

    async def cancel(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Cancel the request; the ticket and the errors are as for `reject`."""
        return await self._end(correlation_id, Decision.CANCELLED, by=by, reason=reason)

    async def refresh(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Make a request due now: read its ticket, or send its callback.

        Raises:
            NotFoundError: no such request.
            InvalidRequestError: there is nothing to go on with.
        """

        async def decide(entry: StoredRequest) -> Event:
            if entry.record.state not in ACTIVE:
                raise InvalidRequestError(
                    f"state: request {entry.record.id} is {entry.record.state}; held and dead ones"
                    " can be retried"
                )
            return Refreshed(at=await self._store.now(), by=by, reason=reason)

        return await self._act(correlation_id, decide)

    async def reroute(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Choose the route again, by the present rules and mappings.

        Raises:
            NotFoundError: no such request.
            InvalidRequestError: it is decided, or it has, or may have, a ticket in another system.
        """

        async def decide(entry: StoredRequest) -> Event:
            record = entry.record
            if record.decision:
                raise InvalidRequestError(f"state: request {record.id} is decided already")
            digest, route = self._routes.choose(
                lambda: approval_request(record.id, entry.payload, record.request_id)
            )
            ticket = record.ticket_id or record.sent_at or self._store.may_have_lost_intent(record)
            if ticket and route.system != record.system:
                raise InvalidRequestError(
                    f"route: {route.name} leads to {route.system or 'no ticket system'}, but"
                    f" request {record.id} has, or may have, a ticket in {record.system}"
                )
            now = await self._store.now()
            return Rerouted(at=now, by=by, reason=reason, route=digest, system=route.system)

        return await self._act(correlation_id, decide)

    async def open_trial(self, system: str, fields: Mapping[str, Any], *, by: str) -> str:
        """Open a request marked TEST under the first route to a system; return its correlation id.

        It takes the way of any other request; only its callback is kept and not sent, and its
        ticket is withdrawn in the end. `fields` are what a hook call would have brought.

        Raises:
            InvalidRequestError: no route leads to this system.
        """
        digest, route = self._routes.first_to(system)
        url = f"https://trial.invalid/{uuid.uuid4()}"
        body = orjson.dumps({"respondToUrl": url, "fields": test_fields(fields)})
        admitted = await self._store.admit(
            Admission(
                respond_to=url,
                content=hashlib.sha256(body).hexdigest(),
                body=body,
                request_id=str(uuid.uuid4()),
                instance=TRIAL,
                client=by,
                system=route.system,
                route=digest,
                decision_deadline=route.decision_deadline,
                reuse_after_final=False,
            )
        )
        return admitted.id

    async def _end(
        self, correlation_id: str, decision: Decision, *, by: str, reason: str
    ) -> StoredRequest:
        async def decide(entry: StoredRequest) -> Event:
            if entry.record.fulfilment is Fulfilment.WAITING:
                return await self._fulfilled(Fulfilment.FAILED, by=by, reason=reason)
            if entry.record.decision:
                raise InvalidRequestError(f"state: request {entry.record.id} is decided already")
            return Decided(
                at=await self._store.now(),
                decision=decision,
                by=f"operator {by}",
                comment=reason,
                evidence=f"operator {by}",
                without_ticket=True,
            )

        return await self._act(correlation_id, decide)

    async def _fulfilled(self, fulfilment: Fulfilment, *, by: str, reason: str) -> Event:
        at, evidence = await self._store.now(), f"{fulfilment}, says operator {by}"
        return Fulfilled(at=at, fulfilment=fulfilment, evidence=evidence, reason=reason)

    async def _act(
        self, correlation_id: str, decide: Callable[[StoredRequest], Awaitable[Event]]
    ) -> StoredRequest:
        """Write the event that `decide` returns; load and decide again if the record changed."""
        for _ in range(_ATTEMPTS):
            entry = await self._store.load(correlation_id)
            if entry is None:
                raise NotFoundError(f"There is no request {correlation_id}")
            event = await decide(entry)
            after = advance_entry(entry, event)
            history = [history_entry(event, after.record)]
            due = due_at(after.record, event.at, event.at)
            try:
                return await self._store.commit(
                    entry, after, history, due=due, take_over=True, only_newest=True
                )
            except StaleError:
                continue
            except SupersededError as newer:
                raise InvalidRequestError(
                    f"id: a newer request with the same respondToUrl exists: {newer}"
                ) from newer
        raise TemporaryError(
            f"Request {correlation_id} keeps changing; try again", maybe_sent=False
        )
