"""The response bodies of a simulated Jira site, by Atlassian's specification."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from proxy.simulators.jira.issues import TEXT_FIELD, WORKFLOW, Approval, Issue, IssueState
from proxy.simulators.server import answer

CATEGORIES = {"new": (2, "To Do"), "indeterminate": (4, "In Progress"), "done": (3, "Done")}
STATUSES = tuple(WORKFLOW)
DESK_CATEGORIES = {"new": "NEW", "indeterminate": "INDETERMINATE", "done": "DONE"}


def jira_time(milliseconds: int) -> str:
    """Return a time in Jira's format, with an offset without a colon."""
    moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1_000:03}+0000"


def desk_date(milliseconds: int) -> dict[str, Any]:
    """Return a date in the service desk's format."""
    moment = datetime.fromtimestamp(milliseconds // 1_000, UTC)
    return {
        "iso8601": f"{moment:%Y-%m-%dT%H:%M:%S}+0000",
        "jira": jira_time(milliseconds),
        "friendly": f"{moment:%d/%b/%y %H:%M}",
        "epochMillis": milliseconds,
    }


class ResponseWriter:
    """Writes responses of the site at `url`; users have account ids on Cloud, else names."""

    def __init__(self, *, cloud: bool) -> None:
        self.cloud = cloud
        self.url = ""

    @property
    def platform(self) -> str:
        """The base URL of the platform's API."""
        return f"{self.url}/rest/api/{3 if self.cloud else 2}"

    def user(self, name: str) -> dict[str, Any]:
        """Return a user of the platform."""
        user: dict[str, Any] = {
            "self": f"{self.platform}/user?{self.user_id}={account(name, cloud=self.cloud)}",
            self.user_id: account(name, cloud=self.cloud),
            "emailAddress": email(name),
            "displayName": name,
            "active": True,
            "timeZone": "Europe/Rome",
            "avatarUrls": {
                size: f"{self.url}/avatar/{size}.png"
                for size in ("16x16", "24x24", "32x32", "48x48")
            },
        }
        return user | ({"accountType": "atlassian"} if self.cloud else {"key": name})

    @property
    def user_id(self) -> str:
        """The field that identifies users."""
        return "accountId" if self.cloud else "name"

    def customer(self, name: str) -> dict[str, Any]:
        """Return a user of the service desk."""
        user = self.user(name)
        kept = (self.user_id, "key", "emailAddress", "displayName", "active", "timeZone")
        links = {
            "jiraRest": user["self"],
            "self": user["self"],
            "avatarUrls": user["avatarUrls"],
        }
        return {part: user[part] for part in kept if part in user} | {"_links": links}

    def issue(
        self, issue: Issue, shape: IssueState, fields: Sequence[str], properties: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return an issue with these of its fields, `*all` for all."""
        values = self._fields(issue, shape)
        names = values if "*all" in fields else [name for name in fields if name in values]
        body: dict[str, Any] = {
            "expand": "renderedFields,names,schema,operations,editmeta,changelog",
            "id": issue.id,
            "self": f"{self.platform}/issue/{issue.id}",
            "key": shape.key,
            "fields": {name: values[name] for name in names},
        }
        present = {name: issue.properties[name] for name in properties if name in issue.properties}
        return body | ({"properties": present} if properties else {})

    def _fields(self, issue: Issue, shape: IssueState) -> dict[str, Any]:
        resolution = {"name": shape.resolution, "id": "1", "self": f"{self.platform}/resolution/1"}
        return {
            TEXT_FIELD: None,
            "labels": [],
            **shape.fields,
            "status": self.status(shape.status),
            "resolution": resolution if shape.resolution else None,
            "created": jira_time(issue.created),
            "updated": jira_time(shape.updated),
            "reporter": self.user(issue.reporter),
        }

    def status(self, name: str) -> dict[str, Any]:
        """Return a status of the platform with its category."""
        key = WORKFLOW[name][0]
        category, category_name = CATEGORIES[key]
        number = STATUSES.index(name) + 1
        return {
            "self": f"{self.platform}/status/{number}",
            "description": "",
            "iconUrl": f"{self.url}/images/icons/status.png",
            "name": name,
            "id": str(number),
            "statusCategory": {
                "self": f"{self.platform}/statuscategory/{category}",
                "id": category,
                "key": key,
                "colorName": "blue-gray",
                "name": category_name,
            },
        }

    def transitions(self, status: str) -> dict[str, Any]:
        """Return the transitions from a status."""
        offered = [
            {
                "id": transition_id(status, name),
                "name": name,
                "to": self.status(to),
                **dict.fromkeys(("hasScreen", "isGlobal", "isInitial", "isConditional"), False),
                "isAvailable": True,
            }
            for name, to in WORKFLOW[status][1].items()
        ]
        return {"expand": "transitions", "transitions": offered}

    def changelog(self, issue: Issue) -> dict[str, Any]:
        """Return the history of an issue, the newest first."""
        histories = [
            {
                "id": str(number),
                "author": self.user(entry["by"]),
                "created": jira_time(entry["at"]),
                "items": [
                    {
                        "field": name,
                        "fieldtype": "jira",
                        "fieldId": name,
                        "from": "1",
                        "fromString": old,
                        "to": "2",
                        "toString": new,
                    }
                    for name, (old, new) in entry["items"].items()
                ],
            }
            for number, entry in enumerate(issue.histories, 1)
        ]
        total = len(histories)
        return {"startAt": 0, "maxResults": total, "total": total, "histories": histories[::-1]}

    def request(self, issue: Issue, shape: IssueState) -> dict[str, Any]:
        """Return a request of the service desk."""
        assert issue.request is not None
        category = DESK_CATEGORIES[WORKFLOW[shape.status][0]]
        return {
            "_expands": ["participant", "status", "sla", "requestType", "serviceDesk"],
            "issueId": issue.id,
            "issueKey": shape.key,
            "requestTypeId": issue.request["requestTypeId"],
            "serviceDeskId": issue.request["serviceDeskId"],
            "createdDate": desk_date(issue.created),
            "reporter": self.customer(issue.reporter),
            "requestFieldValues": [
                {"fieldId": name, "label": name.title(), "value": value}
                for name, value in shape.fields.items()
            ],
            "currentStatus": {
                "status": shape.status,
                "statusCategory": category,
                "statusDate": desk_date(shape.updated),
            },
            "_links": {
                "self": f"{self.url}/rest/servicedeskapi/request/{issue.id}",
                "jiraRest": f"{self.platform}/issue/{issue.id}",
                "web": f"{self.url}/servicedesk/customer/portal/1/{shape.key}",
                "agent": f"{self.url}/browse/{shape.key}",
            },
        }

    def approval(self, issue: Issue, approval: Approval) -> dict[str, Any]:
        """Return an approval of a request."""
        self_url = f"{self.url}/rest/servicedeskapi/request/{issue.id}/approval/{approval['id']}"
        body = {
            "id": approval["id"],
            "name": approval["name"],
            "finalDecision": approval["finalDecision"],
            "canAnswerApproval": approval["finalDecision"] == "pending",
            "approvers": [
                {**row, "approver": self.customer(row["approver"])} for row in approval["approvers"]
            ],
            "createdDate": desk_date(approval["created"]),
            "_links": {"self": self_url},
        }
        completed = approval["completed"]
        return body | ({"completedDate": desk_date(completed)} if completed else {})


def page(values: Sequence[Any], start: int, limit: int) -> dict[str, Any]:
    """Return one page of a list in the service desk's format."""
    rows = values[start : start + limit]
    return {
        "_expands": [],
        "size": len(rows),
        "start": start,
        "limit": limit,
        "isLastPage": start + limit >= len(values),
        "values": rows,
    }


def email(name: str) -> str:
    """Return the e-mail address of a user."""
    return name if "@" in name else f"{name}@company.com"


def account(name: str, *, cloud: bool) -> str:
    """Return the identifier of a user at the site."""
    return f"5b10:{name.encode().hex()}" if cloud else name


def transition_id(status: str, name: str) -> str:
    """Return the id of a transition."""
    return f"{STATUSES.index(status) + 1}{list(WORKFLOW[status][1]).index(name) + 1}"


def platform_error(
    status: int, *messages: str, fields: Mapping[str, str] | None = None
) -> web.Response:
    """Return an error in the platform's format."""
    return answer(status, {"errorMessages": list(messages), "errors": dict(fields or {})})


def desk_error(status: int, message: str) -> web.Response:
    """Return an error in the service desk's format."""
    i18n = {"i18nKey": "sd.error", "parameters": [message]}
    return answer(status, {"errorMessage": message, "i18nErrorMessage": i18n})
