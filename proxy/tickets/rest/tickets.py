"""REST tickets: the calls that read tickets, and the interpretation of their answers.

An answer that cannot be read never means that a ticket does not exist, or that nothing changed.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from yarl import URL

from proxy.domain.models import Ticket
from proxy.errors import ConfigurationError, NotFoundError, TemporaryError
from proxy.outbound.responses import Response
from proxy.tickets.declaring.expressions import compile_path
from proxy.tickets.declaring.sanitize import reference
from proxy.tickets.rest.approvals import decided
from proxy.tickets.rest.client import Api
from proxy.tickets.rest.declaration import RestDeclaration
from proxy.tickets.rest.lists import ApprovalsCall, ChangesCall, ReadManyCall
from proxy.tickets.rest.parser import ApprovalReader, FieldPaths, TicketReader

_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_:.-]{1,255}")  # cannot be taken for two of them


@dataclass(frozen=True, slots=True)
class FetchedTicket:
    """A ticket, and where it was read from."""

    ticket: Ticket
    """The ticket."""
    tree: Any
    """Its JSON tree."""
    answer: Response
    """The answer with that tree."""


class Tickets:
    """The calls of one declaration that read tickets."""

    def __init__(self, *, name: str, declaration: RestDeclaration, api: Api) -> None:
        self._name = name
        self._declaration = declaration
        self._api = api
        self._reader = TicketReader(declaration)
        self._created_at = compile_path(declaration.create.ticket)
        self._read_at = compile_path(declaration.read.ticket)

    async def find(self, correlation_id: str) -> list[FetchedTicket]:
        """Return every ticket that carries the correlation id, oldest first.

        Raises:
            ConfigurationError: only other tickets came back: the filter was ignored, and ours may
                be on another page, so this does not prove that it is absent.
        """
        declared = self._declaration.find
        if declared is None:
            raise ConfigurationError(f"{self._name}: the declaration has no find")
        answer = await self._api.send("find", correlation_id=correlation_id)
        trees = compile_path(declared.tickets)(answer.json())
        if not isinstance(trees, list):
            self._api.unreadable(answer, "no list of tickets", "find.tickets")
        match = compile_path(declared.match)
        ours = [tree for tree in trees if _is(match(tree), correlation_id)]
        if trees and not ours:
            raise ConfigurationError(
                f"{self._name}: find returned only {len(trees)} other tickets, so it is not known"
                " whether ours exists: correct the filter in find.query",
                request_specific=True,
            )
        tickets = [FetchedTicket(self._ticket(tree, answer), tree, answer) for tree in ours]
        return sorted(
            tickets,
            key=lambda fetched: (
                fetched.ticket.created_at,
                len(fetched.ticket.id),
                fetched.ticket.id,
            ),
        )

    def created(self, answer: Response, url: str) -> FetchedTicket:
        """Return the ticket in the answer to a create at this URL, from its body or `Location`."""
        template = self._declaration.create.location
        if template is None:
            tree = self._created_at(answer.json())
            return FetchedTicket(self._ticket(tree, answer), tree, answer)
        ticket_id = self._located(template, URL(url, encoded=True), answer)
        if not ticket_id:
            self._api.unreadable(answer, "no such Location", "create.location")
        tree = None
        with suppress(TemporaryError):  # often an empty body
            tree = self._created_at(answer.json())
        ticket = self._reader.read(tree, ticket_id) or Ticket(ticket_id, ticket_id)
        return FetchedTicket(ticket, tree, answer)

    async def read(self, ticket_id: str) -> FetchedTicket:
        """Return the ticket as it is now, without its approvals.

        Raises:
            NotFoundError: the system does not show it, or shows another one instead.
        """
        answer = await self._api.send("read", ticket={"id": ticket_id})
        tree = self._read_at(answer.json())
        if not tree:
            raise NotFoundError(f"{self._name}: {answer.label} answered without a ticket")
        ticket = self._ticket(tree, answer)
        if ticket_id not in {ticket.id, ticket.key}:
            raise NotFoundError(f"{self._name}: {answer.label} answered with another ticket")
        return FetchedTicket(ticket, tree, answer)

    async def decided(self, ticket: Ticket, declared: ApprovalsCall) -> Ticket:
        """Return the ticket with the outcome of its approvals."""
        reference_to = {"id": ticket.id}
        trees = await self._api.entries("approvals", declared, "approvals", ticket=reference_to)
        reader = ApprovalReader(declared, self._declaration)
        return decided(ticket, declared.rule, [reader.read(tree, ticket) for tree in trees])

    async def read_many(
        self, declared: ReadManyCall, ticket_ids: Sequence[str]
    ) -> Mapping[str, Ticket]:
        """Return the tickets in the answer, by the id that was asked for."""
        ids = list(filter(_PLAIN_ID.fullmatch, ticket_ids))
        trees = await self._api.entries("read_many", declared, "tickets", ids=ids)
        tickets = [ticket for tree in trees if (ticket := self._reader.read(tree)) is not None]
        # one ticket's key may be another one's id: ids win
        by_name = {ticket.key: ticket for ticket in tickets} | {
            ticket.id: ticket for ticket in tickets
        }
        return {name: by_name[name] for name in ids if name in by_name}

    async def changes(self, declared: ChangesCall, since: int) -> Mapping[str, int]:
        """Return when each ticket that changed at or after a time did so last, by its id."""
        places = FieldPaths({"id": declared.id})
        updated = compile_path(declared.updated)
        written = declared.time.write(since)
        oldest = declared.time.read(written) or since  # as exact as its times are
        counted = declared.pages is not None and declared.pages.counted
        changed: dict[str, int] = {}
        async for page in self._api.pages("changes", declared, "tickets", since=written):
            moments = []
            for tree in page:
                ticket_id, moment = places.text("id", tree), declared.time.read(updated(tree))
                if not ticket_id or moment is None:
                    raise self._misread(
                        "an entry without id or time", "changes.id, changes.updated"
                    )
                changed[ticket_id] = max(moment, changed.get(ticket_id, moment))
                moments.append(moment)
            if counted and moments != sorted(moments, reverse=True):
                # an entry that changes meanwhile moves to the end, and shifts another past our page
                raise self._misread("older entries first", "changes: ask for the newest first")
            if counted and moments and moments[-1] < oldest:
                break
        return changed

    def _ticket(self, tree: Any, answer: Response) -> Ticket:
        ticket = self._reader.read(tree)
        if ticket is None:
            self._api.unreadable(answer, "a ticket without an id", "ticket.id")
        return ticket

    def _misread(self, what: str, setting: str) -> TemporaryError:
        return TemporaryError(f"{self._name}: changes were answered with {what}: check {setting}")

    def _located(self, template: str, created_at: URL, answer: Response) -> str:
        """Return the id in the `Location` of a new ticket, which must be below `base_url`."""
        base = URL(self._declaration.base_url)
        try:
            url = created_at.join(URL(answer.headers.get("Location", ""), encoded=True))
        except ValueError:
            return ""
        before, _, after = f"{base.raw_path.rstrip('/')}{template}".partition("{id}")
        path = url.raw_path
        inside = path.startswith(before) and path.endswith(after) and url.origin() == base.origin()
        name = path[len(before) : len(path) - len(after)] if inside else ""
        return "" if "/" in name else reference(unquote(name))


def _is(value: Any, correlation_id: str) -> bool:
    return bool(value == correlation_id or (isinstance(value, list) and correlation_id in value))
