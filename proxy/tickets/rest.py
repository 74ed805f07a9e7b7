"""The `rest` ticket system: any HTTP API that a declaration can describe, without code.

How calls are made, retried and authorised is the destination's matter; here they are written, and
their answers are read. An answer that cannot be read is never taken for "there is no ticket".
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from proxy.domain.models import ApprovalRequest, Ticket
from proxy.errors import ConfigurationError, NotFound, TemporaryError
from proxy.outbound import Answer, Call, Destination, check
from proxy.tickets.calls import names_of
from proxy.tickets.capabilities import assembled
from proxy.tickets.expressions import finder
from proxy.tickets.rest_declaration import RestDeclaration
from proxy.tickets.wire import CallWriter, TicketReader

NO_TICKET: Final = "no-such-request"
"""A correlation id that is never given out."""


class RestTicketSystem:
    """A ticket system under one declaration; `open_rest` adds what the declaration offers."""

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
        self._reader = TicketReader(declaration)
        self._created_at = finder(declaration.create.ticket)
        self._read_at = finder(declaration.read.ticket)
        self._writers = {
            operation: CallWriter(
                shape,
                place=f"{name}: {operation}",
                base_url=declaration.base_url,
                limits=declaration.limits if operation == "create" else {},
            )
            for operation in ("create", "find", "read", "comment", "cancel", "ping")
            if (shape := getattr(declaration, operation)) is not None
        }

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
        found, strangers = await self._look_up(correlation_id)
        if strangers and not found:
            raise ConfigurationError(
                f"{self._name}: find was answered with {strangers} other tickets only, so whether"
                " ours exists is not known: correct the filter in find.query",
                request_specific=True,
            )
        return sorted(found, key=lambda ticket: (ticket.created_at, len(ticket.id), ticket.id))

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the ticket.

        Raises:
            TemporaryError: `sent` tells whether it may exist; an answer without an id is a doubt.
            PermanentError: the system refuses it, or the request does not fit the templates.
        """
        call = self._writers["create"].write(**names_of(request))
        answer = await self._send("create", call, repeatable=False)
        return self._ticket(self._created_at(answer.json()), answer)

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the ticket.

        Raises:
            NotFound: the system does not show it, or shows another one instead.
        """
        call = self._writers["read"].write(ticket={"id": ticket_id})
        answer = await self._send("read", call, repeatable=True)
        tree = self._read_at(answer.json())
        if not tree:
            raise NotFound(f"{self._name}: {answer.place} answered without a ticket")
        ticket = self._ticket(tree, answer)
        if ticket_id not in {ticket.id, ticket.key}:
            raise NotFound(f"{self._name}: {answer.place} answered with another ticket")
        return ticket

    async def ping(self) -> None:
        """Prove that the system answers, takes our credential and honours the filter of `find`."""
        if self._declaration.ping is not None:
            await self._send("ping", self._writers["ping"].write(), repeatable=True)
        else:
            await self.find(NO_TICKET)

    async def _look_up(self, correlation_id: str) -> tuple[list[Ticket], int]:
        """Return our tickets and the number of others that came with them."""
        declared = self._declaration.find
        if declared is None:
            raise ConfigurationError(f"{self._name}: the declaration has no find")
        call = self._writers["find"].write(correlation_id=correlation_id)
        answer = await self._send("find", call, repeatable=True)
        trees = finder(declared.tickets)(answer.json())
        if not isinstance(trees, list):
            self._unreadable(answer, "no list of tickets", "find.tickets")
        match = finder(declared.match)
        found = []
        for tree in trees:
            value = match(tree)
            if value == correlation_id or (isinstance(value, list) and correlation_id in value):
                found.append(self._ticket(tree, answer))
        return found, len(trees) - len(found)

    async def _send(self, operation: str, call: Call, *, repeatable: bool) -> Answer:
        answer = await self._http.send(call, repeatable=repeatable)
        check(answer, call, system=self._name)
        if answer.status not in self._writers[operation].success:
            self._unreadable(answer, f"{answer.status}", f"{operation}.success")
        return answer

    def _ticket(self, tree: Any, answer: Answer) -> Ticket:
        ticket = self._reader.read(tree)
        if ticket is None:
            self._unreadable(answer, "a ticket without an id", "ticket.id")
        return ticket

    def _unreadable(self, answer: Answer, what: str, setting: str) -> NoReturn:
        raise TemporaryError(
            f"{self._name}: {answer.place} answered with {what}, which is not what {setting} in"
            " the settings expects: the call may have had its effect"
        )


class _Cancels(RestTicketSystem):
    async def cancel(self, ticket_id: str, reason: str) -> None:
        """Withdraw the ticket; raises Conflict where the system says that it is decided."""
        call = self._writers["cancel"].write(ticket={"id": ticket_id}, reason=reason)
        await self._send("cancel", call, repeatable=False)


class _Comments(RestTicketSystem):
    async def comment(self, ticket_id: str, text: str) -> None:
        """Add a comment."""
        call = self._writers["comment"].write(ticket={"id": ticket_id}, text=text)
        await self._send("comment", call, repeatable=False)


def open_rest(
    *,
    name: str,
    declaration: RestDeclaration,
    http: Destination,
    event_secrets: Callable[[], Sequence[bytes]] = tuple,
) -> RestTicketSystem:
    """Return the system with exactly the capabilities that its declaration describes.

    Raises:
        ConfigurationError: events are declared, but there is no secret to verify them with.
    """
    return assembled(
        RestTicketSystem,
        {_Cancels: declaration.cancel, _Comments: declaration.comment},
        name=name,
        declaration=declaration,
        http=http,
        event_secrets=event_secrets,
    )
