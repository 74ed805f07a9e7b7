"""The platform's API of a simulated Jira site: version 3 on Cloud, version 2 in a data center."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiohttp import web

from proxy.simulators.jira import jql
from proxy.simulators.jira.fields import field_problems, is_document
from proxy.simulators.jira.issues import TEXT_FIELD, WORKFLOW, Issue
from proxy.simulators.jira.responses import email, jira_time, platform_error, transition_id
from proxy.simulators.jira.site import NO_ISSUE, OURS, JiraSite
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


class Platform(JiraSite):
    """The API of every Jira site."""

    required: Sequence[str] = ()
    """Further fields that the form of a new issue requires."""

    def platform_routes(self) -> Iterable[web.RouteDef]:
        """Return the calls of the platform's API."""
        base = f"/rest/api/{3 if self.cloud else 2}"
        issue, api, on_issue = f"{base}/issue/{{ref}}", self.api, self.on_issue
        meta = f"{base}/issue/createmeta/{{project}}/issuetypes"
        yield from (
            web.get(f"{base}/myself", api("read", self._myself)),
            web.get(f"{base}/serverInfo", api("find", self._server_info)),
            web.get(f"{base}/user/search", api("find", self._users)),
            web.post(f"{base}/issue", api("create", self._create_issue)),
            web.get(meta, api("read", self._issue_types)),
            web.get(f"{meta}/{{kind}}", api("read", self._create_fields)),
            web.get(issue, api("read", on_issue(self._read_issue))),
            web.get(f"{issue}/properties/{{name}}", api("read", on_issue(self._read_property))),
            web.put(f"{issue}/properties/{{name}}", api("change", on_issue(self._write_property))),
            web.get(f"{issue}/transitions", api("read", on_issue(self._transitions))),
            web.post(f"{issue}/transitions", api("change", on_issue(self._take_transition))),
            web.post(f"{issue}/comment", api("change", on_issue(self._comment_issue))),
        )
        if self.cloud:
            yield web.post(f"{base}/issue/bulkfetch", api("read", self._bulk_fetch))
        yield web.post(f"{base}/search{'/jql' * self.cloud}", api("find", self._search))

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
            {name: value for name, value in fields.items() if name != "reporter"},
            reporter=self.person(reporter or "") or OURS,
            properties={item["key"]: item["value"] for item in body.get("properties") or ()},
        )
        self.announce(issue)
        self_url = f"{self.shapes.platform}/issue/{issue.id}"
        return answer(201, {"id": issue.id, "key": issue.state.key, "self": self_url})

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

    async def _read_issue(self, request: web.Request, issue: Issue) -> web.Response:
        fields = request.query.get("fields", "*all").split(",")
        properties = [name for name in request.query.get("properties", "").split(",") if name]
        shape = self.issue_as_read("read", issue)
        body = self.shapes.issue(issue, shape, fields, properties)
        if "changelog" in request.query.get("expand", ""):
            body["changelog"] = self.shapes.changelog(issue)
        return answer(200, body)

    async def _bulk_fetch(self, request: web.Request) -> web.Response:
        body = await json_object(request) or {}
        refs = body.get("issueIdsOrKeys") or []
        if not 0 < len(refs) <= MOST_FETCHED:
            return platform_error(400, f"Between 1 and {MOST_FETCHED} issues are fetched at once.")
        self.journal.record("bulkfetch", asked=len(refs))
        issues, errors = [], []
        for ref in refs:
            if (issue := self.issues.get(str(ref))) is None:
                errors.append({"id": str(ref), "errorMessage": NO_ISSUE})
            else:
                shape = self.issue_as_read("read", issue)
                fields = body.get("fields") or ["*all"]
                issues.append(self.shapes.issue(issue, shape, fields, body.get("properties") or ()))
        return answer(200, {"issues": issues, "issueErrors": errors})

    async def _read_property(self, request: web.Request, issue: Issue) -> web.Response:
        name = request.match_info["name"]
        if name not in issue.properties:
            return platform_error(404, f"The property {name} does not exist.")
        return answer(200, {"key": name, "value": issue.properties[name]})

    async def _write_property(self, request: web.Request, issue: Issue) -> web.Response:
        name = request.match_info["name"]
        created = name not in issue.properties
        issue.properties[name] = await request.json()
        self.journal.record("property", ticket=issue.id, name=name)
        return answer(201 if created else 200, {})

    async def _transitions(self, _: web.Request, issue: Issue) -> web.Response:
        return answer(200, self.shapes.transitions(issue.state.status))

    async def _take_transition(self, request: web.Request, issue: Issue) -> web.Response:
        body = await json_object(request) or {}
        chosen = (body.get("transition") or {}).get("id")
        status = issue.state.status
        for name, to in WORKFLOW[status][1].items():
            if transition_id(status, name) == chosen:
                self.issues.transition(issue, to, by=OURS)
                self.journal.record("transition", ticket=issue.id, name=name)
                self.notify(issue, "updated")
                return answer(204)
        return platform_error(
            400,
            f"It seems that you have tried to perform a workflow operation ({chosen}) that is"
            " not valid for the current state of this issue.",
        )

    async def _comment_issue(self, request: web.Request, issue: Issue) -> web.Response:
        body = await json_object(request) or {}
        text = body.get("body")
        if not (is_document(text) if self.cloud else isinstance(text, str)):
            return platform_error(400, fields={"comment": "Comment body is not valid!"})
        comment = self.add_comment(issue, text, public=True)
        response = {
            "id": comment,
            "self": f"{self.shapes.platform}/issue/{issue.id}/comment/{comment}",
            "body": text,
            **dict.fromkeys(("author", "updateAuthor"), self.shapes.user(OURS)),
            **dict.fromkeys(("created", "updated"), jira_time(self.issues.time())),
        }
        return answer(201, response)

    def add_comment(self, issue: Issue, text: Any, *, public: bool) -> str:
        """Add a comment; return its id."""
        issue.comments.append({"body": text, "public": public})
        self.issues.change(issue, by=OURS)
        self.journal.record("comment", ticket=issue.id, text=text, public=public)
        self.notify(issue, "updated")
        return str(len(issue.comments))

    # -- searches ------------------------------------------------------------------------------

    async def _search(self, request: web.Request) -> web.Response:
        body = await json_object(request) or {}
        if unknown := sorted(body.keys() - (_SEARCH if self.cloud else _OLD_SEARCH)):
            return platform_error(400, f"Unrecognized field {unknown[0]!r}")
        reconciled = [str(ref) for ref in body.get("reconcileIssues") or ()]
        if len(reconciled) > MOST_RECONCILED:
            return platform_error(400, "Too many issues to reconcile")
        if any(self.issues.get(ref) is None for ref in reconciled):
            return platform_error(400, "Some of the issues to reconcile are not there")
        start = int(body.get("nextPageToken" if self.cloud else "startAt") or 0)
        try:
            matches = self._search_index(str(body.get("jql", "")), reconciled)
        except jql.JqlError as error:
            return platform_error(400, str(error))
        size = min(int(body.get("maxResults", 50)), LARGEST_PAGE)
        names = body.get("fields") or (["id"] if self.cloud else ["*all"])
        fields = [] if names == ["id"] else names
        rows = [
            self.shapes.issue(issue, issue.state, fields, body.get("properties") or ())
            for issue in matches[start : start + size]
        ]
        self.run_after_page()
        if not self.cloud:
            page = {"startAt": start, "maxResults": size, "total": len(matches)}
            return answer(200, {"expand": "schema,names", **page, "issues": rows})
        last = start + size >= len(matches)
        more = {} if last else {"nextPageToken": str(start + size)}
        return answer(200, {"issues": rows, "isLast": last, **more})

    def _search_index(self, query: str, reconciled: Sequence[str]) -> list[Issue]:
        """Return the matching issues of the index, in which reconciled ones never lag."""
        indexed = self.index_time()
        issues = [
            issue for issue in self.issues if issue.received_at < indexed or issue.id in reconciled
        ]
        matches = jql.search(query, issues, jql.QueryContext(self.issues.time(), self.zone))
        self.journal.record("search", jql=query, found=len(matches), reconciled=list(reconciled))
        if looked_up := _LOOK_UP.match(query):
            self.journal.record("find", correlation_id=looked_up[1], found=len(matches))
        return matches

    # -- the site and its people ---------------------------------------------------------------

    async def _myself(self, _: web.Request) -> web.Response:
        return answer(200, self.shapes.user(OURS))

    async def _server_info(self, _: web.Request) -> web.Response:
        info = {
            "baseUrl": self.url,
            "version": "1001.0.0-SNAPSHOT" if self.cloud else "10.3.0",
            "versionNumbers": [1001, 0, 0] if self.cloud else [10, 3, 0],
            "deploymentType": "Cloud" if self.cloud else "Server",
            "buildNumber": 100_300,
            "serverTime": jira_time(self.issues.time()),
            "serverTitle": "Simulated Jira",
        }
        return answer(200, info)

    async def _users(self, request: web.Request) -> web.Response:
        prefix = request.query.get("query" if self.cloud else "username", "").casefold()
        if not prefix:
            return platform_error(400, "The query parameter is required.")
        users = [
            self.shapes.user(name) | {"active": active}
            for name, active in self.people.items()
            if email(name).casefold().startswith(prefix)
        ]
        return answer(200, users)
