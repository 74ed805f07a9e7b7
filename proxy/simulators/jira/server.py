"""The Jira Service Management API of a simulated Jira site, with the pitfalls of the real one.

The index lags, a search must be bounded and returns no fields unless they are named, dates of
queries have minutes only, a read may be stale, keys change, an approval is answered once, unknown
keys are refused, and three rate limits apply separately. The platform's API is in `platform`.
"""

from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web
from typing_extensions import override

from proxy.simulators.jira.fields import field_problems
from proxy.simulators.jira.issues import TEXT_FIELD, Issue
from proxy.simulators.jira.platform import Platform
from proxy.simulators.jira.responses import desk_date, desk_error, page
from proxy.simulators.jira.site import DESK_API, NO_ISSUE, OURS
from proxy.simulators.server import answer, json_object

SERVICE_DESK: Final = "4"
REQUEST_TYPE: Final = "25"
PROJECT: Final = "ACC"
"""The project of the service desk."""

_CREATE: Final = frozenset(
    ("serviceDeskId", "requestTypeId", "requestFieldValues", "raiseOnBehalfOf")
) | {"requestParticipants", "channel"}
_ON_THE_FORM: Final = ("summary", "description", "labels", TEXT_FIELD)
_ANSWERS: Final = {"approve": "approved", "decline": "declined"}


class Jira(Platform):
    """The site; its service desk has one type of request."""

    may_act_for_others = True
    """True if our account may raise requests on behalf of customers."""

    @override
    def routes(self) -> Iterable[web.RouteDef]:
        desk, api, on_issue = DESK_API, self.api, self.on_issue
        request = f"{desk}/request/{{ref}}"
        kind = f"{desk}/servicedesk/{{desk}}/requesttype/{{kind}}"
        return (
            web.post("/oauth/token", self.guarded("token", self.authorization.token)),
            web.post("/rest/oauth2/latest/token", self.guarded("token", self.authorization.token)),
            web.get(f"{desk}/info", api("read", self._info)),
            web.post(f"{desk}/request", api("create", self._create)),
            web.get(request, api("read", on_issue(self._read))),
            web.get(f"{request}/approval", api("approval", on_issue(self._approvals))),
            web.post(f"{request}/approval/{{approval}}", api("change", on_issue(self._answer))),
            web.post(f"{request}/comment", api("change", on_issue(self._comment))),
            web.get(f"{kind}/field", api("read", self._form)),
            *self.platform_routes(),
            *self.console_routes(),
        )

    async def _create(self, request: web.Request) -> web.Response:
        body = await json_object(request)
        if body is None or body.keys() - _CREATE:
            unknown = sorted((body or {"(no JSON)": 0}).keys() - _CREATE)
            return desk_error(400, f'Unrecognized field "{unknown[0]}"')
        desk, kind = body.get("serviceDeskId"), body.get("requestTypeId")
        if (desk, kind) != (SERVICE_DESK, REQUEST_TYPE):  # strings, not numbers
            return desk_error(404, "The Service Desk with the specified ID could not be found.")
        fields = body.get("requestFieldValues") or {}
        if problem := self._problem(fields):
            return desk_error(400, problem)
        asker = body.get("raiseOnBehalfOf")
        if asker is not None and not self.may_act_for_others:
            return desk_error(
                403, "You do not have permission to raise requests on behalf of others"
            )
        if asker is not None and self.person(asker) is None:
            return desk_error(
                400, "The customer that you want to raise this request for is unknown"
            )
        issue = self.issues.create(
            PROJECT,
            fields,
            reporter=self.person(asker or "") or OURS,
            request={"serviceDeskId": SERVICE_DESK, "requestTypeId": REQUEST_TYPE},
        )
        self.announce(issue)
        return answer(201, self.shapes.request(issue, issue.state))

    def _problem(self, fields: dict[str, Any]) -> str:
        for name in fields:
            if name not in _ON_THE_FORM:
                return f"The field '{name}' is not on the form of this request type"
        if not fields.get("summary"):
            return "You must specify a summary of the issue."
        problems = field_problems(fields, adf=False)
        return next((f"{name}: {problem}" for name, problem in problems.items()), "")

    async def _read(self, _: web.Request, issue: Issue) -> web.Response:
        return answer(200, self.shapes.request(issue, self.issue_as_read("read", issue)))

    async def _approvals(self, request: web.Request, issue: Issue) -> web.Response:
        start, limit = int(request.query.get("start", 0)), int(request.query.get("limit", 50))
        approvals = self.issue_as_read("approval", issue).approvals
        values = [self.shapes.approval(issue, approval) for approval in approvals]
        return answer(200, page(values, start, min(limit, 50)))

    async def _answer(self, request: web.Request, issue: Issue) -> web.Response:
        body, number = await json_object(request) or {}, request.match_info["approval"]
        if number not in {approval["id"] for approval in issue.state.approvals}:
            return desk_error(404, NO_ISSUE)
        if body.get("decision") not in _ANSWERS:
            return desk_error(400, "The decision must be approve or decline")
        if not self.issues.answer_approval(issue, number, _ANSWERS[body["decision"]], by=OURS):
            return desk_error(409, "The approval has been answered already.")
        self.notify(issue, "updated")
        answered = next(approval for approval in issue.state.approvals if approval["id"] == number)
        return answer(200, self.shapes.approval(issue, answered))

    async def _comment(self, request: web.Request, issue: Issue) -> web.Response:
        body = await json_object(request) or {}
        if not isinstance(body.get("body"), str) or body.keys() - {"body", "public"}:
            return desk_error(400, "The comment has no body")
        public = body.get("public") is True
        number = self.add_comment(issue, body["body"], public=public)
        comment = {"id": number, "body": body["body"], "public": public}
        self_url = f"{self.url}/rest/servicedeskapi/request/{issue.id}/comment/{number}"
        comment |= {"author": self.shapes.customer(OURS), "created": desk_date(self.issues.time())}
        return answer(201, {**comment, "_links": {"self": self_url}})

    async def _form(self, request: web.Request) -> web.Response:
        requested = (request.match_info["desk"], request.match_info["kind"])
        if requested != (SERVICE_DESK, REQUEST_TYPE):
            return desk_error(404, "The request type does not exist.")
        fields: list[dict[str, Any]] = [
            {
                "fieldId": name,
                "name": name.title(),
                "description": "",
                "required": name == "summary",
                "defaultValues": [],
                "validValues": [],
                "jiraSchema": {"type": "string", "system": name},
                "visible": True,
            }
            for name in _ON_THE_FORM
        ]
        may = self.may_act_for_others
        form = {"requestTypeFields": fields, "canRaiseOnBehalfOf": may}
        return answer(200, {**form, "canAddRequestParticipants": True})

    async def _info(self, _: web.Request) -> web.Response:
        info = {"version": "5.0.0", "platformVersion": "10.0.0", "isLicensedForUse": True}
        links = {"self": f"{self.url}/rest/servicedeskapi/info"}
        return answer(
            200, {**info, "buildDate": desk_date(0), "buildChangeSet": "0", "_links": links}
        )
