"""The state of a simulated Jira site: issues, people and faults, and the actions of its people.

The APIs are in `platform` and `server`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Unpack

from aiohttp import web
from typing_extensions import override

from proxy.simulators.faults import Fault, Kind
from proxy.simulators.jira.events import EventAuth, writer
from proxy.simulators.jira.issues import (
    AWAITING_APPROVAL,
    TEXT_FIELD,
    WORKFLOW,
    Issue,
    Issues,
    IssueState,
)
from proxy.simulators.jira.responses import ResponseWriter, account, desk_error, platform_error
from proxy.simulators.server import Handler, answer, json_object
from proxy.simulators.ticket_system import API, TicketSimulator, TicketSystemOptions
from proxy.simulators.ticket_system import FAULTS as SHARED

FAULTS: dict[str, frozenset[Kind]] = {**SHARED, "approval": API | {"stale"}, "change": API}
NO_ISSUE: Final = "Issue does not exist or you do not have permission to see it."
DESK_API: Final = "/rest/servicedeskapi"
IssueHandler = Callable[[web.Request, Issue], Awaitable[web.Response]]
OURS: Final = "approval-proxy"
"""The account that the access tokens belong to."""

LIMITS: Final = ("jira-burst-based", "jira-per-issue-on-write", "jira-quota-tenant-based")
"""The three rate limits of a Cloud site, by their `RateLimit-Reason`."""

_NAMES: Final = {"approved": "approved", "rejected": "declined", "declined": "declined"}
_STATUSES: Final = {"approved": "In progress", "declined": "Declined", "cancelled": "Canceled"}


def rate_limit(operation: str, reason: str, *, until: str, retry_after: str | None = None) -> Fault:
    """Return a fault: a rate limit that lasts until an ISO 8601 time."""
    headers = {"RateLimit-Reason": reason, "X-RateLimit-Reset": until}
    body = {"errorMessages": ["Rate limit exceeded."], "errors": {}}
    return Fault(
        operation, "answer", status=429, headers=headers, retry_after=retry_after, body=body
    )


class JiraSite(TicketSimulator):
    """The state of a site.

    `skew` is the lead of its clock in milliseconds, `zone` the time zone of our account in
    minutes, `initial` the status of a new issue, `steps` the number of approvals of a request.
    """

    control = "/jira"

    def __init__(
        self,
        *,
        event_auth: EventAuth = "hmac",
        cloud: bool = True,
        skew: int = 0,
        zone: int = 60,
        initial: str = AWAITING_APPROVAL,
        steps: int = 1,
        **account: Unpack[TicketSystemOptions],
    ) -> None:
        super().__init__(kinds=FAULTS, write=writer(event_auth), **account)
        self.cloud = cloud
        self.zone = zone
        self.people = {OURS: True, "ada": True, "bob": True, "olga": True}
        self.issues = Issues(self.clock, skew, initial=initial, steps=steps)
        self.shapes = ResponseWriter(cloud=cloud)

    @override
    async def up(self) -> None:
        await super().up()
        self.shapes.url = self.url

    # -- actions of people ---------------------------------------------------------------------

    def get_issue(self, ref: str) -> Issue:
        """Return an issue by its id or key; raises KeyError if it does not exist."""
        issue = self.issues.get(ref)
        if issue is None:
            raise KeyError(ref)
        return issue

    def decide(self, ref: str, decision: str, *, by: str = "olga") -> None:
        """Decide as a person: answer the pending approval if there is one, else set the status.

        `decision` is approved, rejected, cancelled, or the name of a status.
        """
        issue, word = self.get_issue(ref), _NAMES.get(decision, decision)
        pending = [row["id"] for row in issue.state.approvals if row["finalDecision"] == "pending"]
        if pending and word in _NAMES.values():
            self.issues.answer_approval(issue, pending[0], word, by=by)
        else:
            self.issues.transition(issue, _STATUSES.get(word, word), by=by)
        marks = {"ticket": issue.id, "correlation_id": correlation_id_of(issue)}
        self.journal.record("status", status=decision, by=by, **marks)
        self.notify(issue, "updated")

    def edit(self, ref: str, fields: Mapping[str, Any], *, by: str = "olga") -> None:
        """Change fields of an issue."""
        self.issues.edit(self.get_issue(ref), fields, by=by)
        self.notify(self.get_issue(ref), "updated")

    def move(self, ref: str, project: str) -> None:
        """Move an issue to another project, which changes its key."""
        self.issues.move(self.get_issue(ref), project)
        self.notify(self.get_issue(ref), "updated")

    def delete(self, ref: str) -> None:
        """Remove an issue."""
        self.issues.delete(self.get_issue(ref))

    # -- shared by the APIs --------------------------------------------------------------------

    def notify(self, issue: Issue, event: str) -> None:
        """Send an event about an issue."""
        ticket = {"id": issue.id, "key": issue.state.key, "status": issue.state.status}
        self.events.send(event, ticket)

    def announce(self, issue: Issue) -> None:
        """Record and announce a new issue."""
        marks = {"key": issue.state.key, "correlation_id": correlation_id_of(issue)}
        self.journal.record("created", ticket=issue.id, **marks)
        ticket = {"id": issue.id, "key": issue.state.key, "fields": dict(issue.state.fields)}
        self._created.put_nowait(ticket)
        self.notify(issue, "created")

    def issue_as_read(self, operation: str, issue: Issue) -> IssueState:
        """Return the state of an issue for a read; a stale read gets the previous one."""
        stale = self.is_stale(operation, issue.id, issue.state.key)
        state = issue.previous_state if stale else issue.state
        self.journal.record(operation, ticket=issue.id, status=state.status)
        return state

    def person(self, ref: str) -> str | None:
        """Return the person with an account id (or name), if there is one."""
        matches = (name for name in self.people if account(name, cloud=self.cloud) == ref)
        return next(matches, None)

    @override
    def refusal(self, request: web.Request) -> web.Response:
        message = "Client must be authenticated to access this resource."
        desk = request.path.startswith(DESK_API)
        return desk_error(401, message) if desk else platform_error(401, message)

    def on_issue(self, handler: IssueHandler) -> Handler:
        """Return a handler that looks the issue of the path up first, and answers 404 without.

        The service desk has only those issues that are requests.
        """

        async def handle(request: web.Request) -> web.Response:
            issue = self.issues.get(request.match_info["ref"])
            desk = request.path.startswith(DESK_API)
            if issue is None or (desk and not issue.request):
                return desk_error(404, NO_ISSUE) if desk else platform_error(404, NO_ISSUE)
            return await handler(request, issue)

        return handle

    def console_routes(self) -> Iterable[web.RouteDef]:
        """Return the pages for people, which need no credential."""
        return (
            web.get("/browse/{ref}", self.on_issue(self._page)),
            web.get("/jira/issues", self._all),
            web.post("/jira/issues/{ref}/decision", self.on_issue(self._decide)),
        )

    async def _page(self, _: web.Request, issue: Issue) -> web.Response:
        return answer(200, self._all_fields(issue))

    async def _all(self, _: web.Request) -> web.Response:
        return answer(200, {"issues": [self._all_fields(issue) for issue in self.issues]})

    async def _decide(self, request: web.Request, issue: Issue) -> web.Response:
        if WORKFLOW[issue.state.status][0] == "done" or issue.state.status == "In progress":
            return platform_error(409, f"It is {issue.state.status} already")
        decision = {"by": "olga", "decision": "approved"} | (await json_object(request) or {})
        self.decide(issue.id, decision["decision"], by=decision["by"])
        return answer(200, self._all_fields(issue))

    def _all_fields(self, issue: Issue) -> dict[str, Any]:
        return self.shapes.issue(issue, issue.state, ["*all"])


def correlation_id_of(issue: Issue) -> str | None:
    """Return the correlation id in an issue's field or among its labels, if there is one."""
    fields = issue.state.fields
    labels = [label for label in fields.get("labels", ()) if label != OURS]
    return fields.get(TEXT_FIELD) or (labels[-1] if labels else None)
