"""The `rest` ticket system: any HTTP API that a declaration can describe, without code.

How calls are made, retried and authorised is the destination's matter; here they are written, and
their answers are read. An answer that cannot be read is never taken for "there is no ticket".
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from proxy.domain.models import ApprovalRequest, Ticket
from proxy.errors import ProxyError, TemporaryError
from proxy.outbound.destination import Destination
from proxy.tickets.rest.actions import TicketActions
from proxy.tickets.rest.client import Api
from proxy.tickets.rest.declaration import RestDeclaration
from proxy.tickets.rest.tickets import Tickets

NO_TICKET: Final = "no-such-request"
"""A correlation id that is never given out."""


class RestTicketSystem:
    """A ticket system under one declaration; `offers` says what comes on top."""

    def __init__(
        self,
        *,
        name: str,
        declaration: RestDeclaration,
        http: Destination,
    ) -> None:
        self._name = name
        self._declaration = declaration
        self._http = http
        self._api = Api(name=name, declaration=declaration, http=http)
        self._tickets = Tickets(name=name, declaration=declaration, api=self._api)
        self._changes = TicketActions(name=name, api=self._api, tickets=self._tickets)

    @property
    def name(self) -> str:
        """The name in the settings."""
        return self._name

    @property
    def deadline(self) -> int:
        """Milliseconds that one call may take, everything included."""
        return self._http.deadline

    @property
    def settle(self) -> int:
        """Milliseconds for which a created ticket may be invisible to `find`."""
        return self._declaration.settle

    @property
    def finds(self) -> bool:
        """Whether the declaration has a look-up."""
        return self._declaration.find is not None

    @property
    def idempotent(self) -> bool:
        """Whether the system honours the idempotency key that create carries."""
        return self._declaration.idempotent

    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first.

        Raises:
            ConfigurationError: only other tickets came back: the filter was ignored, and ours may
                be on a page that we were not given, so this is no proof of absence.
        """
        found = await self._tickets.find(correlation_id)
        if found:  # whatever lost the ticket may have lost what belongs to it as well
            calls = self._declaration.follow_ups
            await self._changes.follow_up(found[0], calls, correlation_id, fresh=False)
        return [shown.ticket for shown in found]

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the ticket, and make the calls that belong to it.

        Raises:
            TemporaryError: `sent` tells whether it may exist; an answer without an id is a doubt,
                and so is a ticket without all that belongs to it: `find` makes up for that.
            PermanentError: the system refuses it, or the request does not fit the templates.
        """
        call = self._api.write_create(request)
        ends = asyncio.get_running_loop().time() + self.deadline / 1_000  # of all calls together
        answer = await self._api.deliver("create", call, repeatable=False)
        shown = self._tickets.created(answer, call.url)
        calls, fresh = self._declaration.follow_ups, not self._declaration.idempotent
        try:
            if calls:
                async with asyncio.timeout_at(ends):
                    await self._changes.follow_up(shown, calls, request.correlation_id, fresh=fresh)
        except (ProxyError, TimeoutError) as error:
            raise TemporaryError(
                f"{self._name}: ticket {shown.ticket.key} was created, but not all that belongs to"
                f" it was done: {str(error) or 'the deadline passed'}"
            ) from error
        if self._declaration.create.location is not None:
            with suppress(ProxyError):  # for its key and URL alone: it is read soon anyway
                return (await self._tickets.read(shown.ticket.id)).ticket
        return shown.ticket

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the ticket, and the approvals where they decide it.

        Raises:
            NotFound: the system does not show it, or shows another one instead.
        """
        ticket = (await self._tickets.read(ticket_id)).ticket
        approvals = self._declaration.approvals
        return ticket if approvals is None else await self._tickets.decided(ticket, approvals)

    async def ping(self) -> None:
        """Prove that the system answers, takes our credential and honours the filter of `find`."""
        if self._declaration.ping is not None:
            await self._api.send("ping")
        else:
            await self.find(NO_TICKET)


class _FetchesMany(RestTicketSystem):
    @property
    def most_fetched(self) -> int:
        """How many tickets one call may name."""
        return self._declaration.read_many.most if self._declaration.read_many else 0

    async def fetch_many(self, ticket_ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Read many tickets; what the answer does not hold may exist all the same."""
        declared = self._declaration.read_many
        return await self._tickets.read_many(declared, ticket_ids) if declared else {}


class _ListsChanges(RestTicketSystem):
    @property
    def overlap(self) -> int:
        """How much later, in milliseconds, a change may turn up than its time says."""
        return self._declaration.changes.overlap if self._declaration.changes else 0

    async def changes(self, since: int) -> Mapping[str, int]:
        """Return when each ticket that changed at or after `since` did so last, by its id."""
        declared = self._declaration.changes
        return await self._tickets.changes(declared, since) if declared else {}


class _Cancels(RestTicketSystem):
    async def cancel(self, ticket_id: str, reason: str) -> None:
        """Withdraw the ticket; raises Conflict where it is decided already."""
        if declared := self._declaration.cancel:
            ticket = {"id": ticket_id}
            await self._changes.change("cancel", declared, ticket, only_open=True, reason=reason)


class _Comments(RestTicketSystem):
    async def comment(self, ticket_id: str, text: str) -> None:
        """Add a comment."""
        if declared := self._declaration.comment:
            await self._changes.change("comment", declared, {"id": ticket_id}, text=text)


def capabilities(declaration: RestDeclaration) -> Mapping[type, Any]:
    """Return every capability, with what the declaration says of it."""
    return {
        _FetchesMany: declaration.read_many,
        _ListsChanges: declaration.changes,
        _Cancels: declaration.cancel,
        _Comments: declaration.comment,
    }
