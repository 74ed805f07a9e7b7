"""Jira system: the adapter for requests of Jira Service Management and for issues of Jira.

The decision comes from the approvals of a request, from its status or from its resolution; the
fulfilment from its status. A search sees new issues late, so its results are compared with the
issues themselves, and every decision is read from the issue, not from the index.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from typing_extensions import override

from proxy.domain.models import ApprovalRequest, Outcome, Ticket
from proxy.domain.timestamps import rfc3339_seconds
from proxy.errors import NotFoundError
from proxy.outbound.destination import Destination
from proxy.tickets.capabilities import Adapter, Kind, require_undecided
from proxy.tickets.declaring.sanitize import digest, reference
from proxy.tickets.jira.approvals import (
    PENDING,
    Verdict,
    decider_fields,
    names_of_person,
    verdict,
    with_deciders,
)
from proxy.tickets.jira.client import (
    DESK,
    ISSUE_ID,
    MOST_FETCHED,
    MOST_RECONCILED,
    Site,
    category,
    fields_of,
    moment_of,
    name_of,
    quoted,
)
from proxy.tickets.jira.create import IssueCreator
from proxy.tickets.jira.declaration import LABELS, JiraDeclaration
from proxy.tickets.jira.preflight import preflight_checks
from proxy.tickets.jira.text import adf, wiki_comment
from proxy.tickets.jira.transitions import withdraw
from proxy.tickets.json_api import Tree, nested, objects_of
from proxy.tickets.port import Inspection

_DONE: Final = "done"
"""The key of the status category for finished work."""

_DECIDED: Final = frozenset({Outcome.APPROVED, Outcome.REJECTED})


class Jira(Adapter):
    """A Jira site under one declaration."""

    def __init__(self, *, name: str, declaration: JiraDeclaration, http: Destination) -> None:
        super().__init__(name=name, declaration=declaration, http=http)
        self.overlap = declaration.overlap
        self._declared = declaration
        self._site = Site(
            name=name, base_url=declaration.base_url, http=http, cloud=declaration.cloud
        )
        self._creator = IssueCreator(declaration, self._site)
        self._recent: deque[str] = deque(maxlen=MOST_RECONCILED)

    @override
    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first.

        Every hit of the index is read again: an issue counts if it has the correlation id in its
        field and no other one in its property, which is written if it is missing.
        """
        field = self._declared.correlation_field
        jql = f"{_holds(field, correlation_id)} ORDER BY created ASC"
        rows = await self._site.search(jql, ("created", field), reconciled=self._recent)
        trees = []
        for row in rows:
            if self._creator.carries(row, correlation_id):
                tree = await self._creator.verified(self._id(row), correlation_id)
                trees += [tree] if tree else []
        tickets = [self._ticket(tree) for tree in trees]
        return sorted(tickets, key=lambda ticket: (ticket.created_at, int(ticket.id)))

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the request or the issue, mark it, and move it to its start status.

        Raises:
            TemporaryError: the ticket may exist if `maybe_sent`.
            PermanentError: the site refuses it, or the request does not fit the templates.
        """
        async with self._site.bounded(self.deadline, "create"):
            created, note = await self._creator.open(request)
        self._recent.append(created.id)
        return replace(created, url=self._url(created.key), note=note)

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the issue, its approvals if they decide, and who decided if it is decided.

        Raises:
            NotFoundError: the site does not show it, or not any more.
        """
        tree = await self._site.issue(ticket_id, self._declared.read_fields)
        issue_id = self._id(tree)
        if ISSUE_ID.fullmatch(ticket_id) and issue_id != ticket_id:
            raise NotFoundError(
                f"{self.name}: asked for {ticket_id}, it answered with another issue"
            )
        return await self._judged(tree)

    def preflight_checks(self) -> Mapping[str, Inspection]:
        """Return the checks that compare the declaration with the site."""
        return preflight_checks(self._declared, self._site)

    async def changes(self, since: int) -> Mapping[str, int]:
        """Return when each of our issues that changed at or after `since` did so last, by id.

        The list is ordered by creation, which never changes: an issue that is updated meanwhile
        keeps its place, so that no other one is skipped between two pages.
        """
        minutes = await self._site.minutes_since(since)
        declared = self._declared
        ours = _is_ours(declared.correlation_field, declared.mark)
        jql = f"{ours} AND updated >= -{minutes}m ORDER BY created ASC"
        changed = {}
        for row in await self._site.search(jql, ("updated",)):
            moment = moment_of(fields_of(row).get("updated"))
            if moment is not None and moment >= since:
                changed[self._id(row)] = moment
        return changed

    async def comment(self, ticket_id: str, text: str) -> None:
        """Add a comment; on a request the requester sees it too, with `public_comments`."""
        issue = quote(ticket_id, safe="")
        if self._declared.request:
            path = f"{DESK}/request/{issue}/comment"
            body = {"body": wiki_comment(text), "public": self._declared.public_comments}
        else:
            path = f"{self._site.platform}/issue/{issue}/comment"
            body = {"body": adf(text) if self._site.cloud else wiki_comment(text)}
        await self._site.call("POST", path, body, repeatable=False)

    async def _judged(self, tree: Tree) -> Ticket:
        ticket = self._ticket(tree)
        match self._declared.decide_by:
            case "approvals":
                path = f"{DESK}/request/{ticket.id}/approval"
                result = verdict(await self._site.values(path), self._declared.approvals)
                return await self._by_approvals(ticket, result, category(tree))
            case "status":
                word = ticket.native_status
            case "resolution":
                word = name_of(fields_of(tree).get("resolution")) or PENDING
        outcome = self._declared.outcome(word)
        if outcome is None and (word == PENDING or (category(tree) or _DONE) != _DONE):
            outcome = Outcome.PENDING  # an unknown status, but the work is not finished
        ticket = replace(ticket, native_status=word, outcome=outcome)
        return await self._with_decider(ticket) if outcome in _DECIDED else ticket

    async def _by_approvals(self, ticket: Ticket, result: Verdict, stage: str) -> Ticket:
        """Return the ticket as its approvals decide it; the status counts only while they pend."""
        if result.word == PENDING:
            outcome = self._declared.ended(ticket.native_status)
            if outcome is None and stage != _DONE:
                outcome = Outcome.PENDING
            return replace(ticket, outcome=outcome)
        outcome = self._declared.outcome(result.word)
        if outcome is Outcome.APPROVED:
            # read once more, so that its fields are those that were approved, not older ones
            tree = await self._site.issue(ticket.id, self._declared.read_fields)
            ticket = self._ticket(tree)
        return with_deciders(replace(ticket, native_status=result.word, outcome=outcome), result)

    async def _with_decider(self, ticket: Ticket) -> Ticket:
        """Return the ticket with the person who set its status or resolution, from its history."""
        tree = await self._site.issue(ticket.id, ("status",), expand="changelog")
        rows = objects_of(nested(tree, "changelog", "histories"))
        made = [row for row in rows if self._made(row, ticket.native_status)]
        if not made:
            return ticket
        last = max(made, key=lambda row: moment_of(row.get("created")) or 0)
        moment = moment_of(last.get("created"))
        person = names_of_person(last.get("author"))
        return replace(
            ticket,
            **decider_fields([person]),
            decided_at=rfc3339_seconds(moment),
        )

    def _made(self, row: Tree, word: str) -> bool:
        return any(
            item.get("field") == self._declared.decide_by and item.get("toString") == word
            for item in objects_of(row.get("items"))
        )

    def _ticket(self, tree: Tree) -> Ticket:
        fields, ticket_id = fields_of(tree), self._id(tree)
        key = reference(tree.get("key")) or ticket_id
        moment = moment_of(fields.get("created"))
        status = name_of(fields.get("status"))
        held = fields.get(self._declared.correlation_field)
        return Ticket(
            id=ticket_id,
            key=key,
            url=self._url(key),
            native_status=status,
            correlation_values=[
                str(value) for value in (held if isinstance(held, list) else [held])
            ],
            fulfilment=self._declared.fulfilled(status),
            created_at=rfc3339_seconds(moment),
            key_fields=digest([fields.get(field) for field in self._declared.key_fields]),
        )

    def _id(self, tree: Tree) -> str:
        ticket_id = reference(tree.get("id"))
        if not ISSUE_ID.fullmatch(ticket_id):
            self._site.unreadable("an issue", "no id")
        return ticket_id

    def _url(self, key: str) -> str:
        site = self._declared.site_url or self._declared.base_url
        return f"{site}/browse/{quote(key, safe='')}"


def _holds(field: str, correlation_id: str) -> str:
    """Return the clause that finds a correlation id; text fields only support the operator `~`."""
    if field == LABELS:
        return f"labels = {quoted(correlation_id)}"
    phrase = quoted(correlation_id).replace('"', '\\"')
    return f'{_in_jql(field)} ~ "{phrase}"'


def _is_ours(field: str, mark: str) -> str:
    return f"labels = {quoted(mark)}" if field == LABELS else f"{_in_jql(field)} is not EMPTY"


def _in_jql(field: str) -> str:
    return f"cf[{field.removeprefix('customfield_')}]"


class _FetchesMany(Jira):
    most_fetched = MOST_FETCHED

    async def fetch_many(self, ticket_ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Read many issues in one call; approvals and deciders are read one by one."""
        ids = list(filter(ISSUE_ID.fullmatch, ticket_ids))
        trees = await self._site.issues(ids, self._declared.read_fields) if ids else []
        judged = await asyncio.gather(*map(self._judged, trees))
        return {ticket.id: ticket for ticket in judged if ticket.id in ids}


class _Cancels(Jira):
    async def cancel(self, ticket_id: str, reason: str) -> None:
        """Withdraw the ticket as declared; raises ConflictError if it is decided already."""
        ticket = require_undecided(await self.fetch(ticket_id), system=self.name)
        assert self._declared.cancel is not None
        await withdraw(self._site, ticket.id, self._declared.cancel)
        await self.comment(ticket.id, reason)


def capabilities(declaration: JiraDeclaration) -> Mapping[type, Any]:
    """Return every optional capability, and whether it is declared."""
    return {_Cancels: declaration.cancel, _FetchesMany: declaration.cloud}


KIND: Final = Kind(JiraDeclaration, Jira, capabilities)
