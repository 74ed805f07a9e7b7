"""REST system: the adapter for any HTTP API that a declaration can describe, without code.

The destination sends, retries and authorises calls; here they are written and their answers read.
An answer that cannot be read never means that a ticket does not exist.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from typing_extensions import override

from proxy.domain.models import ApprovalRequest, Ticket
from proxy.errors import ProxyError, TemporaryError
from proxy.outbound.destination import Destination
from proxy.tickets.capabilities import Adapter, Kind
from proxy.tickets.rest.actions import TicketActions
from proxy.tickets.rest.client import Api
from proxy.tickets.rest.declaration import RestDeclaration
from proxy.tickets.rest.tickets import Tickets


class RestTicketSystem(Adapter):
    """A REST API under one declaration; `capabilities` lists the optional ones."""

    def __init__(
        self,
        *,
        name: str,
        declaration: RestDeclaration,
        http: Destination,
    ) -> None:
        super().__init__(name=name, declaration=declaration, http=http)
        self.finds = declaration.find is not None
        self.idempotent = declaration.idempotent
        self._declaration = declaration
        self._api = Api(name=name, declaration=declaration, http=http)
        self._tickets = Tickets(name=name, declaration=declaration, api=self._api)
        self._changes = TicketActions(name=name, api=self._api, tickets=self._tickets)

    @override
    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first.

        Raises:
            ConfigurationError: only other tickets came back (`Tickets.find`).
        """
        tickets = await self._tickets.find(correlation_id)
        if tickets:  # the crash that lost the ticket may have lost its follow-ups as well
            calls = self._declaration.follow_ups
            await self._changes.follow_up(tickets[0], calls, correlation_id, fresh=False)
        return [fetched.ticket for fetched in tickets]

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the ticket and make its follow-ups.

        Raises:
            TemporaryError: the ticket may exist if `maybe_sent`, as after an answer without an id
                or a failed follow-up; `find` then makes the missing follow-ups.
            PermanentError: the system refuses it, or the request does not fit the templates.
        """
        call = self._api.write_create(request)
        ends = asyncio.get_running_loop().time() + self.deadline / 1_000  # for all calls together
        answer = await self._api.deliver("create", call, repeatable=False)
        fetched = self._tickets.created(answer, call.url)
        calls, fresh = self._declaration.follow_ups, not self._declaration.idempotent
        try:
            if calls:
                async with asyncio.timeout_at(ends):
                    await self._changes.follow_up(
                        fetched, calls, request.correlation_id, fresh=fresh
                    )
        except (ProxyError, TimeoutError) as error:
            raise TemporaryError(
                f"{self.name}: ticket {fetched.ticket.key} was created, but a follow-up failed:"
                f" {str(error) or 'the deadline passed'}"
            ) from error
        if self._declaration.create.location is not None:
            with suppress(ProxyError):  # only for its key and URL: it is read soon anyway
                return (await self._tickets.read(fetched.ticket.id)).ticket
        return fetched.ticket

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the ticket, and its approvals if they decide it.

        Raises:
            NotFoundError: the system does not show it, or shows another one instead.
        """
        ticket = (await self._tickets.read(ticket_id)).ticket
        approvals = self._declaration.approvals
        return ticket if approvals is None else await self._tickets.decided(ticket, approvals)

    @override
    async def ping(self) -> None:
        """Prove that the system answers and accepts our credential, and with `find` its filter."""
        if self._declaration.ping is not None:
            await self._api.send("ping")
        else:
            await super().ping()


class _FetchesMany(RestTicketSystem):
    @property
    def most_fetched(self) -> int:
        """The number of tickets that one call may name."""
        return self._declaration.read_many.most if self._declaration.read_many else 0

    async def fetch_many(self, ticket_ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Read many tickets; one that is missing from the answer may still exist."""
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
        """Withdraw the ticket; raises ConflictError if it is decided already."""
        if declared := self._declaration.cancel:
            ticket = {"id": ticket_id}
            await self._changes.change("cancel", declared, ticket, only_open=True, reason=reason)


class _Comments(RestTicketSystem):
    async def comment(self, ticket_id: str, text: str) -> None:
        """Add a comment."""
        if declared := self._declaration.comment:
            await self._changes.change("comment", declared, {"id": ticket_id}, text=text)


def capabilities(declaration: RestDeclaration) -> Mapping[type, Any]:
    """Return every optional capability with its declaration; None means that it is missing."""
    return {
        _FetchesMany: declaration.read_many,
        _ListsChanges: declaration.changes,
        _Cancels: declaration.cancel,
        _Comments: declaration.comment,
    }


KIND: Final = Kind(RestDeclaration, RestTicketSystem, capabilities)
