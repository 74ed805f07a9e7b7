"""The platform's API of a simulated Jira site: version 3 on Cloud, version 2 in a data center."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiohttp import web

from proxy.simulators.jira import jql
from proxy.simulators.jira.fields import field_problems, is_document
from proxy.simulators.jira.issues import TEXT_FIELD, WORKFLOW, Issue
from proxy.simulators.jira.shapes import platform_error, text_time, transition_id
from proxy.simulators.jira.site import OURS, JiraSite
from proxy.simulators.server import answer, json_object

LARGEST_PAGE: Final = 100
MOST_FETCHED: Final = 100
MOST_RECONCILED: Final = 50
_CREATE: Final = frozenset({"fields", "properties", "update", "historyMetadata", "transition"})
_SEARCH: Final = frozenset(
    ("jql", "fields", "maxResults", "nextPageToken", "reconcileIssues", "properties", "expand")
) | {"fieldsByKeys"}
_OLD_SEARCH: Final = frozenset(
    ("jql", "fields", "maxResults", "startAt", "expand", "validateQuery")
)
_LOOK_UP: Final = re.compile(r'(?:cf\[\d+\] ~|labels =) "(?:\\")?(ar[0-9a-f]+)')
_NOT_THERE: Final = "Issue does not exist or you do not have permission to see it."


class Platform(JiraSite):
    """What every Jira has."""

    required: Sequence[str] = ()
    """More fields that a new issue must have, as its form says."""

    def platform_routes(self) -> Iterable[web.RouteDef]:
        """Return the calls of the platform's API."""
        base = f"/rest/api/{3 if self.cloud else 2}"
        issue, api = f"{base}/issue/{{ref}}", self.api
        meta = f"{base}/issue/createmeta/{{project}}/issuetypes"
        yield from (
            web.get(f"{base}/myself", api("read", self._myself)),
            web.get(f"{base}/serverInfo", api("find", self._server_info)),
            web.get(f"{base}/user/search", api("find", self._users)),
            web.post(f"{base}/issue", api("create", self._create_issue)),
            web.get(meta, api("read", self._issue_types)),
            web.get(f"{meta}/{{kind}}", api("read", self._create_fields)),
            web.get(issue, api("read", self._read_issue)),
            web.get(f"{issue}/properties/{{name}}", api("read", self._read_property)),
            web.put(f"{issue}/properties/{{name}}", api("change", self._write_property)),
            web.get(f"{issue}/transitions", api("read", self._transitions)),
            web.post(f"{issue}/transitions", api("change", self._take_transition)),
            web.post(f"{issue}/comment", api("change", self._comment_issue)),
        )
        if self.cloud:
            yield web.post(f"{base}/issue/bulkfetch", api("read", self._bulk_fetch))
            yield web.post(f"{base}/search/jql", api("find", self._search))
        else:
            yield web.post(f"{base}/search", api("find", self._search_by_number))

    # -- issues --------------------------------------------------------------------------------

    async def _create_issue(self, request: web.Request) -> web.Response:
        body = await json_object(request)
        if body is None or (unknown := sorted(body.keys() - _CREATE)):
            return platform_error(
                400, "Invalid request payload", fields=dict.fromkeys(unknown, "?") if body else None
            )
        fields = body.get("fields") or {}
        problems = field_problems(fields, adf=self.cloud)
        for name in ("project", "issuetype", "summary"):
            if not fields.get(name):
                problems[name] = f"{name} is required."
        reporter = (fields.get("reporter") or {}).get(self.shapes.user_id)
        if reporter and self.person(reporter) is None:
            problems["reporter"] = "The reporter specified is not a user."
        if problems:
            return platform_error(400, fields=problems)
        issue = self.issues.create(
            fields["project"].get("key", "ABC"),
            {name: it for name, it in fields.items() if name != "reporter"},
            reporter=self.person(reporter or "") or OURS,
            properties={each["key"]: each["value"] for each in body.get("properties") or ()},
        )
        self.announce(issue)
        place = f"{self.shapes.platform}/issue/{issue.id}"
        return answer(201, {"id": issue.id, "key": issue.now.key, "self": place})

    async def _issue_types(self, _: web.Request) -> web.Response:
        return self._meta("issueTypes", [{"id": "10001", "name": "Task"}])

    async def _create_fields(self, request: web.Request) -> web.Response:
        if request.match_info["kind"] != "10001":
            return platform_error(404, "The issue type does not exist.")
        required = {"project", "issuetype", "summary", *self.required}
        names = (*sorted(required), "description", "labels", "reporter", TEXT_FIELD)
        fields = [
            {"fieldId": name, "required": name in required, "hasDefaultValue": False}
            for name in dict.fromkeys(names)
        ]
        return self._meta("fields", fields)

    def _meta(self, name: str, items: Sequence[Any]) -> web.Response:
        page = {"startAt": 0, "maxResults": 200, "total": len(items)}
        return answer(200, {**page, name if self.cloud else "values": items})

    async def _read_issue(self, request: web.Request) -> web.Response:
        issue = self.issues.get(request.match_info["ref"])
        if issue is None:
            return platform_error(404, _NOT_THERE)
        fields = request.query.get("fields", "*all").split(",")
        properties = [name for name in request.query.get("properties", "").split(",") if name]
        shape = self.seen("read", issue)
        shown = self.shapes.issue(issue, shape, fields, properties)
        if "changelog" in request.query.get("expand", ""):
            shown["changelog"] = self.shapes.changelog(issue)
        return answer(200, shown)

    async def _bulk_fetch(self, request: web.Request) -> web.Response:
        body = await json_object(request) or {}
        refs = body.get("issueIdsOrKeys") or []
        if not 0 < len(refs) <= MOST_FETCHED:
            return platform_error(400, f"Between 1 and {MOST_FETCHED} issues are fetched at once.")
        self.journal.record("bulkfetch", asked=len(refs))
        shown, errors = [], []
        for ref in refs:
            if (issue := self.issues.get(str(ref))) is None:
                errors.append({"id": str(ref), "errorMessage": _NOT_THERE})
            else:
                shape = self.seen("read", issue)
                asked = body.get("fields") or ["*all"]
                shown.append(self.shapes.issue(issue, shape, asked, body.get("properties") or ()))
        return answer(200, {"issues": shown, "issueErrors": errors})

    async def _read_property(self, request: web.Request) -> web.Response:
        issue, name = self.issues.get(request.match_info["ref"]), request.match_info["name"]
        if issue is None or name not in issue.properties:
            return platform_error(404, f"The property {name} does not exist.")
        return answer(200, {"key": name, "value": issue.properties[name]})

    async def _write_property(self, request: web.Request) -> web.Response:
        issue, name = self.issues.get(request.match_info["ref"]), request.match_info["name"]
        if issue is None:
            return platform_error(404, _NOT_THERE)
        created = name not in issue.properties
        issue.properties[name] = await request.json()
        self.journal.record("property", ticket=issue.id, name=name)
        return answer(201 if created else 200, {})

    async def _transitions(self, request: web.Request) -> web.Response:
        issue = self.issues.get(request.match_info["ref"])
        if issue is None:
            return platform_error(404, _NOT_THERE)
        return answer(200, self.shapes.transitions(issue.now.status))

    async def _take_transition(self, request: web.Request) -> web.Response:
        issue, body = self.issues.get(request.match_info["ref"]), await json_object(request) or {}
        if issue is None:
            return platform_error(404, _NOT_THERE)
        wanted = (body.get("transition") or {}).get("id")
        status = issue.now.status
        for name, to in WORKFLOW[status][1].items():
            if transition_id(status, name) == wanted:
                self.issues.transition(issue, to, by=OURS)
                self.journal.record("transition", ticket=issue.id, name=name)
                self.notify(issue, "updated")
                return answer(204)
        return platform_error(
            400,
            f"It seems that you have tried to perform a workflow operation ({wanted}) that is"
            " not valid for the current state of this issue.",
        )

    async def _comment_issue(self, request: web.Request) -> web.Response:
        issue, body = self.issues.get(request.match_info["ref"]), await json_object(request) or {}
        if issue is None:
            return platform_error(404, _NOT_THERE)
        text = body.get("body")
        if not (is_document(text) if self.cloud else isinstance(text, str)):
            return platform_error(400, fields={"comment": "Comment body is not valid!"})
        comment = self.commented(issue, text, public=True)
        now, author = text_time(self.issues.time()), self.shapes.user(OURS)
        shown = {
            "body": text,
            "author": author,
            "updateAuthor": author,
            "created": now,
            "updated": now,
        }
        place = f"{self.shapes.platform}/issue/{issue.id}/comment/{comment}"
        return answer(201, {"id": comment, "self": place, **shown})

    def commented(self, issue: Issue, text: Any, *, public: bool) -> str:
        """Keep a comment; return its id."""
        issue.comments.append({"body": text, "public": public})
        self.issues.change(issue, by=OURS)
        self.journal.record("comment", ticket=issue.id, text=text, public=public)
        self.notify(issue, "updated")
        return str(len(issue.comments))

    # -- searches ------------------------------------------------------------------------------

    async def _search(self, request: web.Request) -> web.Response:
        body = await json_object(request) or {}
        if unknown := sorted(body.keys() - _SEARCH):
            return platform_error(400, f"Unrecognized field {unknown[0]!r}")
        reconciled = [str(each) for each in body.get("reconcileIssues") or ()]
        if len(reconciled) > MOST_RECONCILED:
            return platform_error(400, "Too many issues to reconcile")
        if any(self.issues.get(ref) is None for ref in reconciled):
            return platform_error(400, "Some of the issues to reconcile are not there")
        start = int(body.get("nextPageToken") or 0)
        try:
            found = self._found(str(body.get("jql", "")), reconciled)
        except jql.Refused as error:
            return platform_error(400, str(error))
        size = min(int(body.get("maxResults", 50)), LARGEST_PAGE)
        asked = body.get("fields") or ["id"]
        shown = self._rows(found[start : start + size], asked, body.get("properties") or ())
        last = start + size >= len(found)
        self.turned()
        more = {} if last else {"nextPageToken": str(start + size)}
        return answer(200, {"issues": shown, "isLast": last, **more})

    async def _search_by_number(self, request: web.Request) -> web.Response:
        body = await json_object(request) or {}
        if unknown := sorted(body.keys() - _OLD_SEARCH):
            return platform_error(400, f"Unrecognized field {unknown[0]!r}")
        try:
            found = self._found(str(body.get("jql", "")), ())
        except jql.Refused as error:
            return platform_error(400, str(error))
        start, size = (
            int(body.get("startAt", 0)),
            min(int(body.get("maxResults", 50)), LARGEST_PAGE),
        )
        shown = self._rows(found[start : start + size], body.get("fields") or ["*all"], ())
        self.turned()
        page = {"startAt": start, "maxResults": size, "total": len(found)}
        return answer(200, {"expand": "schema,names", **page, "issues": shown})

    def _found(self, query: str, reconciled: Sequence[str]) -> list[Issue]:
        """Return what the index has; reconciled issues are found however late it is."""
        issues: list[Issue] = list(self.issues)
        if self.faults:
            for switch in self.faults.strikes("find", {"lag"}):
                age = switch.fault.seconds
                visible = switch.since if age is None else self.clock.now() - int(age * 1000)
                issues = [it for it in issues if it.made < visible or it.id in reconciled]
        found = jql.search(query, issues, jql.Asked(self.issues.time(), self.zone))
        self.journal.record("search", jql=query, found=len(found), reconciled=list(reconciled))
        if looked_up := _LOOK_UP.match(query):
            self.journal.record("find", correlation_id=looked_up[1], found=len(found))
        return found

    def _rows(
        self, issues: Iterable[Issue], fields: Sequence[str], properties: Sequence[str]
    ) -> list[dict[str, Any]]:
        wanted = [] if list(fields) == ["id"] else fields
        return [self.shapes.issue(it, it.now, wanted, properties) for it in issues]

    # -- the site and its people ---------------------------------------------------------------

    async def _myself(self, _: web.Request) -> web.Response:
        return answer(200, self.shapes.user(OURS))

    async def _server_info(self, _: web.Request) -> web.Response:
        shown = {
            "baseUrl": self.url,
            "version": "1001.0.0-SNAPSHOT" if self.cloud else "10.3.0",
            "versionNumbers": [1001, 0, 0] if self.cloud else [10, 3, 0],
            "deploymentType": "Cloud" if self.cloud else "Server",
            "buildNumber": 100_300,
            "serverTime": text_time(self.issues.time()),
            "serverTitle": "Simulated Jira",
        }
        return answer(200, shown)

    async def _users(self, request: web.Request) -> web.Response:
        wanted = request.query.get("query" if self.cloud else "username", "").casefold()
        if not wanted:
            return platform_error(400, "The query parameter is required.")
        users = [self.shapes.user(name) | {"active": it} for name, it in self.people.items()]
        return answer(200, [it for it in users if it["emailAddress"].casefold().startswith(wanted)])
