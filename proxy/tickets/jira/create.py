"""Jira create: the creation of a ticket, its mark, and the transition to its start.

The correlation id is in a field that can be searched, and once more in a property of the issue,
which people do not see and cannot change by mistake. An issue is created with its property; a
request of the service desk is marked afterwards, because its create call takes no properties.
"""

from typing import Any, Final

from proxy.domain.models import ApprovalRequest, Ticket
from proxy.domain.text import clean, one_line
from proxy.errors import (
    ConfigurationError,
    NotFoundError,
    PermanentError,
    ProxyError,
    TemporaryError,
)
from proxy.tickets.declaring.context import template_context
from proxy.tickets.declaring.sanitize import reference, scalar_text
from proxy.tickets.declaring.templates import tree_template
from proxy.tickets.jira.client import DESK, ISSUE_ID, LONGEST, Site, category, fields_of
from proxy.tickets.jira.declaration import LABELS, JiraDeclaration
from proxy.tickets.jira.text import adf, wiki, wiki_value
from proxy.tickets.jira.transitions import status_of, take
from proxy.tickets.json_api import Tree, nested

_NEW: Final = "new"
"""The key of the status category for work that has not begun."""

_NOT_ON_BEHALF: Final = "it could not be opened on behalf of the requester"


class IssueCreator:
    """Creates and marks the tickets of one declaration."""

    def __init__(self, declaration: JiraDeclaration, site: Site) -> None:
        self._declared = declaration
        self._site = site
        written, rich = declaration.written, declaration.rich_text
        self._adf = declaration.cloud and declaration.issue is not None
        self._plain_fields, self._rich_fields = (
            tree_template(
                {name: written[name] for name in written if (name in rich) is is_rich},
                f"{site.name}: fields",
                declaration.limits,
            )
            for is_rich in (False, True)
        )

    async def open(self, request: ApprovalRequest) -> tuple[Ticket, str]:
        """Create the ticket; return it with a note for people, which may be empty.

        Raises:
            TemporaryError: the ticket may exist if `maybe_sent`; after the create call it does.
        """
        notes: list[str] = []
        reporter, fields = await self._reporter(request, notes), self._fields(request)
        try:
            created = await self._create(request.correlation_id, fields, reporter)
        except (PermanentError, ConfigurationError) as error:
            if not reporter or not _refuses(error):
                raise
            created = await self._create(request.correlation_id, fields, "")
            notes.append(f"{_NOT_ON_BEHALF}: {error}")
        try:
            if self._declared.request:
                await self._mark(created.id, request.correlation_id)
        except ProxyError as error:
            raise TemporaryError(f"{created.key} was created, but: {error}") from error
        notes += await self._started(created.id)
        return created, "; ".join(notes)

    def carries(self, tree: Tree, correlation_id: str) -> bool:
        """Return True if the searched field really has the correlation id."""
        held = fields_of(tree).get(self._declared.correlation_field)
        return correlation_id in held if isinstance(held, list) else held == correlation_id

    async def verified(self, ticket_id: str, correlation_id: str) -> Tree | None:
        """Return an issue as it is now if it is ours; mark and start it if that is missing.

        An issue without our property is a copy that somebody made, because ours are created with
        it; only a request of the service desk may still lack it.
        """
        mark = self._declared.mark
        fields = self._declared.read_fields
        try:
            tree = await self._site.issue(ticket_id, fields, properties=mark)
        except NotFoundError:
            return None  # the index still has it
        held = _held(tree, mark)
        unmarked = not held and self._declared.request is not None
        if not self.carries(tree, correlation_id) or not (unmarked or held == correlation_id):
            return None
        if unmarked:
            await self._mark(ticket_id, correlation_id)
        if category(tree) == _NEW:
            await self._started(ticket_id)
        return tree

    async def _create(self, correlation_id: str, fields: dict[str, Any], reporter: str) -> Ticket:
        declared = self._declared
        if declared.request:
            body: dict[str, Any] = {
                "serviceDeskId": declared.request.service_desk,
                "requestTypeId": declared.request.request_type,
                "requestFieldValues": fields,
                **({"raiseOnBehalfOf": reporter} if reporter else {}),
            }
            path, ref, key = f"{DESK}/request", "issueId", "issueKey"
        else:
            assert declared.issue is not None
            kind = declared.issue.type
            ours = {
                "project": {"key": declared.issue.project},
                "issuetype": {"id" if kind.isdecimal() else "name": kind},
                **({"reporter": {self._site.user_id: reporter}} if reporter else {}),
            }
            held = {"key": declared.mark, "value": _copy(correlation_id)}
            body = {"fields": {**fields, **ours}, "properties": [held]}
            path, ref, key = f"{self._site.platform}/issue", "id", "key"
        tree = self._site.object(
            await self._site.call("POST", path, body, repeatable=False), "create"
        )
        ticket_id = reference(tree.get(ref))
        if not ISSUE_ID.fullmatch(ticket_id):
            self._site.unreadable("create", f"no {ref}")
        return Ticket(id=ticket_id, key=reference(tree.get(key)) or ticket_id)

    async def _reporter(self, request: ApprovalRequest, notes: list[str]) -> str:
        """Return the user id of the requester, if exactly one user has the requester's email.

        If our account may not look up users, the ticket is created all the same, with a note.
        """
        if not self._declared.on_behalf_of_requester or not request.requester_email:
            return ""
        try:
            return await self._site.user(request.requester_email)
        except ConfigurationError as error:
            notes.append(f"{_NOT_ON_BEHALF}: {error}")
            return ""

    def _fields(self, request: ApprovalRequest) -> dict[str, Any]:
        text = clean if self._adf else wiki_value
        fields = {
            **self._plain_fields(template_context(request)),
            **{
                name: self._paragraphs(value) if isinstance(value, str) else value
                for name, value in self._rich_fields(template_context(request, text)).items()
            },
        }
        summary = fields["summary"]
        fields["summary"] = one_line(summary) if isinstance(summary, str) else summary
        correlation, mark = request.correlation_id, self._declared.mark
        if self._declared.correlation_field == LABELS:
            others = fields.get(LABELS)
            others = others if isinstance(others, list) else []
            fields[LABELS] = list(dict.fromkeys([*others, mark, correlation]))
        else:
            fields[self._declared.correlation_field] = correlation
        return fields

    def _paragraphs(self, text: str) -> Any:
        return adf(text) if self._adf else wiki(text)

    async def _mark(self, ticket_id: str, correlation_id: str) -> None:
        path = f"{self._site.platform}/issue/{ticket_id}/properties/{self._declared.mark}"
        await self._site.call("PUT", path, _copy(correlation_id))

    async def _started(self, ticket_id: str) -> list[str]:
        """Move a new ticket to its start status; return the reason if that failed."""
        start = self._declared.start
        if start is None:
            return []
        why = ""
        try:
            status = await status_of(self._site, ticket_id)
            if status != start.status:
                await take(self._site, ticket_id, start.transition)
                status = await status_of(self._site, ticket_id)
        except ProxyError as error:
            status, why = "", f": {error}"
        if status == start.status:
            return []
        return [f"it did not reach its start {start.status!r}{why or f' but {status!r}'}"]


def _copy(correlation_id: str) -> dict[str, str]:
    """Return the value of the property with the second copy of the correlation id."""
    return {"correlation_id": correlation_id}


def _held(tree: Tree, mark: str) -> str:
    """Return the correlation id in the property of an issue, empty if it has none."""
    return scalar_text(nested(tree, "properties", mark, "correlation_id"), LONGEST)


def _refuses(error: ProxyError) -> bool:
    """Return True if the site refused this call (400 or 403), so nothing was created."""
    if isinstance(error, ConfigurationError):
        return error.request_specific
    return isinstance(error, PermanentError) and error.status == 400  # noqa: PLR2004 - RFC 9110
