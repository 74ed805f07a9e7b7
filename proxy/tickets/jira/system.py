"""The `jira` ticket system: requests of Jira Service Management, and plain Jira issues.

The decision is what the approvals of a request say together, or its status, or its resolution; the
fulfilment is its status. A search knows new issues late and is compared with what the issues
themselves say; whatever decides is read from the issue, not from the index.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from proxy.domain.models import ApprovalRequest, Outcome, Ticket
from proxy.domain.text import rfc3339
from proxy.errors import NotFoundError
from proxy.outbound.destination import Destination
from proxy.tickets.capabilities import require_undecided
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
    Tree,
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
from proxy.tickets.port import Inspection

NO_TICKET: Final = "no-such-request"
"""A correlation id that is never given out."""

_DONE: Final = "done"
"""The key of the status category in which nothing is done any more."""

_DECIDED: Final = frozenset({Outcome.APPROVED, Outcome.REJECTED})


class Jira:
    """A site under one declaration."""

    idempotent = False
    finds = True

    def __init__(self, *, name: str, declaration: JiraDeclaration, http: Destination) -> None:
        self.name = name
        self.settle = declaration.settle
        self.overlap = declaration.overlap
        self._declared = declaration
        self._http = http
        self._site = Site(
            name=name, base_url=declaration.base_url, http=http, cloud=declaration.cloud
        )
        self._creator = IssueCreator(declaration, self._site)
        self._recent: deque[str] = deque(maxlen=MOST_RECONCILED)

    @property
    def deadline(self) -> int:
        """Milliseconds that one operation may take, everything included."""
        return self._http.deadline

    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first.

        What the index has is read again: an issue counts that holds the correlation id in its field
        and no other one in its property, which is written where it is missing.
        """
        field = self._declared.correlation_field
        jql = f"{_holds(field, correlation_id)} ORDER BY created ASC"
        rows = await self._site.search(jql, ("created", field), reconciled=self._recent)
        trees = []
        for row in rows:
            if self._creator.carries(row, correlation_id):
                tree = await self._creator.verified(self._id(row), correlation_id)
                trees += [tree] if tree else []
        found = [self._ticket(tree) for tree in trees]
        return sorted(found, key=lambda ticket: (ticket.created_at, int(ticket.id)))

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the request or the issue, mark it, and take it to its start.

        Raises:
            TemporaryError: `sent` tells whether it may exist; so does whatever fails afterwards.
            PermanentError: the site refuses it, or the request does not fit the templates.
        """
        async with self._site.bounded(self.deadline, "create"):
            created, note = await self._creator.open(request)
        self._recent.append(created.id)
        return replace(created, url=self._url(created.key), note=note)

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the issue, its approvals if they decide, and who decided if it is decided.

        Raises:
            NotFound: the site does not show it (any more).
        """
        tree = await self._site.issue(ticket_id, self._declared.read_fields)
        found = self._id(tree)
        if ISSUE_ID.fullmatch(ticket_id) and found != ticket_id:
            raise NotFoundError(
                f"{self.name}: asked for {ticket_id}, it answered with another issue"
            )
        return await self._judged(tree)

    async def ping(self) -> None:
        """Prove that the site answers, takes our credential, and searches the correlation field."""
        await self.find(NO_TICKET)

    def preflight_checks(self) -> Mapping[str, Inspection]:
        """Return what the site shows of what would be opened."""
        return preflight_checks(self._declared, self._site)

    async def changes(self, since: int) -> Mapping[str, int]:
        """Return when each of our issues that changed at or after `since` did so last, by id.

        The list is ordered by what never changes. An issue that changes meanwhile keeps its place,
        so that no other one slips through between two pages.
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
        """Add a comment; on a request the requester sees it as well, if the settings say so."""
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
                said = verdict(await self._site.values(path), self._declared.approvals)
                return await self._by_approvals(ticket, said, category(tree))
            case "status":
                word = ticket.native_status
            case "resolution":
                word = name_of(fields_of(tree).get("resolution")) or PENDING
        outcome = self._declared.outcome(word)
        if outcome is None and (word == PENDING or (category(tree) or _DONE) != _DONE):
            outcome = Outcome.PENDING  # whatever it is called, it is not over
        ticket = replace(ticket, native_status=word, outcome=outcome)
        return await self._with_decider(ticket) if outcome in _DECIDED else ticket

    async def _by_approvals(self, ticket: Ticket, said: Verdict, stage: str) -> Ticket:
        """Return the ticket with what its approvals say; only without a word the status counts."""
        if said.word == PENDING:
            outcome = self._declared.ended(ticket.native_status)
            if outcome is None and stage != _DONE:
                outcome = Outcome.PENDING
            return replace(ticket, outcome=outcome)
        outcome = self._declared.outcome(said.word)
        if outcome is Outcome.APPROVED:
            # once more: what was approved is what it says now, and not what it said before
            tree = await self._site.issue(ticket.id, self._declared.read_fields)
            ticket = self._ticket(tree)
        return with_deciders(replace(ticket, native_status=said.word, outcome=outcome), said)

    async def _with_decider(self, ticket: Ticket) -> Ticket:
        """Return the ticket with who gave it its status or resolution, as its history says."""
        tree = await self._site.issue(ticket.id, ("status",), expand="changelog")
        histories = tree.get("changelog")
        rows = histories.get("histories") if isinstance(histories, dict) else None
        made = [
            row
            for row in (rows if isinstance(rows, list) else ())
            if isinstance(row, dict) and self._made(row, ticket.native_status)
        ]
        if not made:
            return ticket
        last = max(made, key=lambda row: moment_of(row.get("created")) or 0)
        moment = moment_of(last.get("created"))
        person = names_of_person(last.get("author"))
        return replace(
            ticket,
            **decider_fields([person]),
            decided_at=rfc3339(moment) if moment is not None else "",
        )

    def _made(self, row: Tree, word: str) -> bool:
        items = row.get("items")
        return any(
            isinstance(item, dict)
            and item.get("field") == self._declared.decide_by
            and item.get("toString") == word
            for item in (items if isinstance(items, list) else ())
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
            correlation_values=[str(it) for it in (held if isinstance(held, list) else [held])],
            fulfilment=self._declared.fulfilled(status),
            created_at=rfc3339(moment) if moment is not None else "",
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
    """Return the clause that finds a correlation id; a text field only knows `~`, its phrase."""
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
        """Read many issues in one call; who decided, and approvals, are asked for one by one."""
        wanted = list(filter(ISSUE_ID.fullmatch, ticket_ids))
        trees = await self._site.issues(wanted, self._declared.read_fields) if wanted else []
        judged = await asyncio.gather(*map(self._judged, trees))
        return {ticket.id: ticket for ticket in judged if ticket.id in wanted}


class _Cancels(Jira):
    async def cancel(self, ticket_id: str, reason: str) -> None:
        """Withdraw the ticket as the settings say; raises Conflict where it is decided already."""
        ticket = require_undecided(await self.fetch(ticket_id), system=self.name)
        assert self._declared.cancel is not None
        await withdraw(self._site, ticket.id, self._declared.cancel)
        await self.comment(ticket.id, reason)


def capabilities(declaration: JiraDeclaration) -> Mapping[type, Any]:
    """Return every capability, with what the declaration says of it."""
    return {_Cancels: declaration.cancel, _FetchesMany: declaration.cloud}
