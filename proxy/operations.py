"""What an operator may do to a request, each with a reason that goes into its history."""

from collections.abc import Awaitable, Callable

from proxy.domain.events import Event, Opened, Retried
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import Entry, State
from proxy.domain.schedule import due_at
from proxy.errors import InvalidRequest, NotFound, Stale, Superseded, TemporaryError
from proxy.routes import Routes
from proxy.store.codec import history_entry
from proxy.store.redis import RedisStore

_TRIES = 5


class Operations:
    """Actions of operators: each raises the fence, so whoever works on the record stops."""

    def __init__(self, *, store: RedisStore, routes: Routes) -> None:
        self._store = store
        self._routes = routes

    async def retry(
        self, correlation_id: str, *, by: str, reason: str, no_ticket_exists: bool = False
    ) -> Entry:
        """Send a held or dead request back to the state it came from.

        Raises:
            NotFound: no such request.
            InvalidRequest: it is neither held nor dead, a newer request has its URL, or it is in
                doubt whether a ticket exists, which only a person can know.
        """

        async def decide(entry: Entry) -> Event:
            record = entry.record
            if record.state not in {State.HELD, State.DEAD}:
                raise InvalidRequest(
                    f"state: request {record.id} is {record.state}; only held and"
                    " dead requests can be retried"
                )
            doubt = record.back is State.OPENING and not record.ticket_id and record.sent_at
            _, system = await self._routes.of(record)
            if doubt and not no_ticket_exists and not (system.finds or system.idempotent):
                raise InvalidRequest(
                    f"noTicketExists: {system.name} may have created a ticket for {record.id} and"
                    " cannot be asked. Attach the ticket, or say that no ticket exists."
                )
            return Retried(
                at=await self._store.now(), by=by, reason=reason, no_ticket=no_ticket_exists
            )

        return await self._act(correlation_id, decide)

    async def attach(self, correlation_id: str, ticket: str, *, by: str, reason: str) -> Entry:
        """Follow a ticket that an operator found; its id or key must be known to the system.

        Raises:
            NotFound: no such request, or no such ticket.
            InvalidRequest: the request has a ticket or a decision, or a newer one has its URL.
        """

        async def decide(entry: Entry) -> Event:
            record = entry.record
            if record.decision or record.ticket_id:
                raise InvalidRequest(
                    f"state: request {record.id} has a ticket or a decision already"
                )
            _, system = await self._routes.of(record)
            found = await system.fetch(ticket)
            return Opened(
                at=await self._store.now(), ticket=found, how=f"attached by {by}: {reason}"
            )

        return await self._act(correlation_id, decide)

    async def _act(self, correlation_id: str, decide: Callable[[Entry], Awaitable[Event]]) -> Entry:
        """Write what an operator decided on the record as it is; look again if it changed."""
        for _ in range(_TRIES):
            entry = await self._store.load(correlation_id)
            if entry is None:
                raise NotFound(f"There is no request {correlation_id}")
            event = await decide(entry)
            after = advance_entry(entry, event)
            history = [history_entry(event, after.record)]
            due = due_at(after.record, event.at, event.at)
            try:
                return await self._store.commit(
                    entry, after, history, due=due, take_over=True, only_newest=True
                )
            except Stale:
                continue
            except Superseded as newer:
                raise InvalidRequest(
                    f"id: a newer request with the same respondToUrl exists: {newer}"
                ) from newer
        raise TemporaryError(f"Request {correlation_id} keeps changing; try again", sent=False)
