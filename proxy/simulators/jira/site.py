"""A simulated Jira site: its issues, its people, its faults, and how it is told what to do.

What it answers to whom is in `jira_platform` and `jira`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Unpack

from aiohttp import web
from typing_extensions import override

from proxy.simulators.faults import Fault, Kind
from proxy.simulators.jira.events import EventAuth, writer
from proxy.simulators.jira.issues import ASKS, TEXT_FIELD, WORKFLOW, Issue, Issues, Shape
from proxy.simulators.jira.shapes import Shapes, account, desk_error, platform_error
from proxy.simulators.server import answer, json_object
from proxy.simulators.ticket_system import API, Account, TicketSimulator
from proxy.simulators.ticket_system import FAULTS as SHARED

FAULTS: dict[str, frozenset[Kind]] = {**SHARED, "approval": API | {"stale"}, "change": API}
OURS: Final = "approval-proxy"
"""The account that the API's tokens stand for."""

LIMITS: Final = ("jira-burst-based", "jira-per-issue-on-write", "jira-quota-tenant-based")
"""The three rate limits of a Cloud site, as `RateLimit-Reason` names them."""

_WORDS: Final = {"approved": "approved", "rejected": "declined", "declined": "declined"}
_STATUSES: Final = {"approved": "In progress", "declined": "Declined", "cancelled": "Canceled"}


def rate_limit(operation: str, reason: str, *, until: str, retry_after: str | None = None) -> Fault:
    """Return a fault: a rate limit that is met until an ISO 8601 time."""
    headers = {"RateLimit-Reason": reason, "X-RateLimit-Reset": until}
    body = {"errorMessages": ["Rate limit exceeded."], "errors": {}}
    return Fault(
        operation, "answer", status=429, headers=headers, retry_after=retry_after, body=body
    )


class JiraSite(TicketSimulator):
    """The state of a site.

    `skew` is how many milliseconds its clock is ahead, `zone` how many minutes the zone of our
    account; `initial` the status of a new issue, `steps` how many approvals a request needs.
    """

    control = "/jira"

    def __init__(
        self,
        *,
        event_auth: EventAuth = "hmac",
        cloud: bool = True,
        skew: int = 0,
        zone: int = 60,
        initial: str = ASKS,
        steps: int = 1,
        **account: Unpack[Account],
    ) -> None:
        super().__init__(kinds=FAULTS, write=writer(event_auth), **account)
        self.cloud = cloud
        self.zone = zone
        self.people = {OURS: True, "ada": True, "bob": True, "olga": True}
        self.issues = Issues(self.clock, skew, initial=initial, steps=steps)
        self.shapes = Shapes(cloud=cloud)
        self._after_page: list[Callable[[], object]] = []

    @override
    async def up(self) -> None:
        await super().up()
        self.shapes.url = self.url

    # -- what people do ------------------------------------------------------------------------

    def known(self, ref: str) -> Issue:
        """Return an issue by its id or key; raises KeyError if there is none."""
        issue = self.issues.get(ref)
        if issue is None:
            raise KeyError(ref)
        return issue

    def decide(self, ref: str, decision: str, *, by: str = "olga") -> None:
        """Let somebody decide: by the next approval where one is asked for, else by the status.

        `decision` is approved, rejected, cancelled, or the name of a status.
        """
        issue, word = self.known(ref), _WORDS.get(decision, decision)
        asked = [each["id"] for each in issue.now.approvals if each["finalDecision"] == "pending"]
        if asked and word in _WORDS.values():
            self.issues.answer(issue, asked[0], word, by=by)
        else:
            self.issues.transition(issue, _STATUSES.get(word, word), by=by)
        marks = {"ticket": issue.id, "correlation_id": correlation_id_of(issue)}
        self.journal.record("status", status=decision, by=by, **marks)
        self.notify(issue, "updated")

    def edit(self, ref: str, fields: Mapping[str, Any], *, by: str = "olga") -> None:
        """Change fields of an issue."""
        self.issues.edit(self.known(ref), fields, by=by)
        self.notify(self.known(ref), "updated")

    def move(self, ref: str, project: str) -> None:
        """Move an issue to another project, which changes its key."""
        self.issues.move(self.known(ref), project)
        self.notify(self.known(ref), "updated")

    def delete(self, ref: str) -> None:
        """Remove an issue."""
        self.issues.delete(self.known(ref))

    def after_page(self, act: Callable[[], object]) -> None:
        """Do something once, right after the next page of a search was answered."""
        self._after_page.append(act)

    # -- what answers have in common -----------------------------------------------------------

    def notify(self, issue: Issue, event: str) -> None:
        """Send an event about an issue."""
        shown = {"id": issue.id, "key": issue.now.key, "status": issue.now.status}
        self.events.send(self.client, event, shown)

    def announce(self, issue: Issue) -> None:
        """Note that an issue was created."""
        marks = {"key": issue.now.key, "correlation_id": correlation_id_of(issue)}
        self.journal.record("created", ticket=issue.id, **marks)
        shown = {"id": issue.id, "key": issue.now.key, "fields": dict(issue.now.fields)}
        self._created.put_nowait(shown)
        self.notify(issue, "created")

    def turned(self) -> None:
        """Do what was left to be done after a page."""
        if self._after_page:
            self._after_page.pop(0)()

    def seen(self, operation: str, issue: Issue) -> Shape:
        """Return an issue as a read shows it, which may be as it was before its last change."""
        named = (issue.id, issue.now.key)
        stale = bool(self.faults) and any(self.faults.strikes(operation, {"stale"}, subjects=named))
        shape = issue.before if stale else issue.now
        self.journal.record(operation, ticket=issue.id, status=shape.status)
        return shape

    def person(self, ref: str) -> str | None:
        """Return who is known by an account id, or by a name, if anybody is."""
        found = (name for name in self.people if account(name, cloud=self.cloud) == ref)
        return next(found, None)

    @override
    def refusal(self, request: web.Request) -> web.Response:
        said = "Client must be authenticated to access this resource."
        desk = request.path.startswith("/rest/servicedeskapi")
        return desk_error(401, said) if desk else platform_error(401, said)

    def console(self) -> Iterable[web.RouteDef]:
        """Return what is for people and needs no credential."""
        return (
            web.get("/browse/{ref}", self._page),
            web.get("/jira/issues", self._all),
            web.post("/jira/issues/{ref}/decision", self._decide),
        )

    async def _page(self, request: web.Request) -> web.Response:
        issue = self.issues.get(request.match_info["ref"])
        return answer(200, self._shown(issue)) if issue else platform_error(404, "Not found")

    async def _all(self, _: web.Request) -> web.Response:
        return answer(200, {"issues": [self._shown(issue) for issue in self.issues]})

    async def _decide(self, request: web.Request) -> web.Response:
        issue, asked = self.issues.get(request.match_info["ref"]), await json_object(request) or {}
        if issue is None:
            return platform_error(404, "Not found")
        if WORKFLOW[issue.now.status][0] == "done" or issue.now.status == "In progress":
            return platform_error(409, f"It is {issue.now.status} already")
        given = {"by": "olga", "decision": "approved"} | asked
        self.decide(issue.id, given["decision"], by=given["by"])
        return answer(200, self._shown(issue))

    def _shown(self, issue: Issue) -> dict[str, Any]:
        return self.shapes.issue(issue, issue.now, ["*all"])


def correlation_id_of(issue: Issue) -> str | None:
    """Return the correlation id in an issue's field or among its labels, if there is one."""
    fields = issue.now.fields
    labels = [it for it in fields.get("labels", ()) if it != OURS]
    return fields.get(TEXT_FIELD) or (labels[-1] if labels else None)
