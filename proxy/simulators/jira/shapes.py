"""What a simulated Jira site answers, in the shapes of Atlassian's own specification."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from proxy.simulators.jira.issues import TEXT_FIELD, WORKFLOW, Approval, Issue, Shape
from proxy.simulators.server import answer

CATEGORIES = {"new": (2, "To Do"), "indeterminate": (4, "In Progress"), "done": (3, "Done")}
STATUSES = tuple(WORKFLOW)
DESK_CATEGORIES = {"new": "NEW", "indeterminate": "INDETERMINATE", "done": "DONE"}


def text_time(milliseconds: int) -> str:
    """Return a time as Jira writes it, with an offset that has no colon."""
    moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1_000:03}+0000"


def date(milliseconds: int) -> dict[str, Any]:
    """Return a date as the service desk writes it."""
    moment = datetime.fromtimestamp(milliseconds // 1_000, UTC)
    return {
        "iso8601": f"{moment:%Y-%m-%dT%H:%M:%S}+0000",
        "jira": text_time(milliseconds),
        "friendly": f"{moment:%d/%b/%y %H:%M}",
        "epochMillis": milliseconds,
    }


class Shapes:
    """Writes issues for a site at `url`; on Cloud users have account ids, elsewhere names."""

    def __init__(self, *, cloud: bool) -> None:
        self.cloud = cloud
        self.url = ""

    @property
    def platform(self) -> str:
        """Where the platform's API begins."""
        return f"{self.url}/rest/api/{3 if self.cloud else 2}"

    def user(self, name: str) -> dict[str, Any]:
        """Return a user of the platform."""
        shown: dict[str, Any] = {
            "self": f"{self.platform}/user?{self.user_id}={account(name, cloud=self.cloud)}",
            self.user_id: account(name, cloud=self.cloud),
            "emailAddress": name if "@" in name else f"{name}@company.com",
            "displayName": name,
            "active": True,
            "timeZone": "Europe/Rome",
            "avatarUrls": {
                size: f"{self.url}/avatar/{size}.png"
                for size in ("16x16", "24x24", "32x32", "48x48")
            },
        }
        return shown | ({"accountType": "atlassian"} if self.cloud else {"key": name})

    @property
    def user_id(self) -> str:
        """The field by which users are known."""
        return "accountId" if self.cloud else "name"

    def customer(self, name: str) -> dict[str, Any]:
        """Return a user of the service desk."""
        known = self.user(name)
        kept = (self.user_id, "key", "emailAddress", "displayName", "active", "timeZone")
        links = {
            "jiraRest": known["self"],
            "self": known["self"],
            "avatarUrls": known["avatarUrls"],
        }
        return {part: known[part] for part in kept if part in known} | {"_links": links}

    def issue(
        self, issue: Issue, shape: Shape, fields: Sequence[str], properties: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return an issue with these of its fields, `*all` for all."""
        known = self._fields(issue, shape)
        wanted = (
            known
            if "*all" in fields
            else {name: known.get(name) for name in fields if name in known}
        )
        shown: dict[str, Any] = {
            "expand": "renderedFields,names,schema,operations,editmeta,changelog",
            "id": issue.id,
            "self": f"{self.platform}/issue/{issue.id}",
            "key": shape.key,
            "fields": wanted,
        }
        named = {name: issue.properties[name] for name in properties if name in issue.properties}
        return shown | ({"properties": named} if properties else {})

    def _fields(self, issue: Issue, shape: Shape) -> dict[str, Any]:
        resolution = {"name": shape.resolution, "id": "1", "self": f"{self.platform}/resolution/1"}
        return {
            TEXT_FIELD: None,
            "labels": [],
            **shape.fields,
            "status": self.status(shape.status),
            "resolution": resolution if shape.resolution else None,
            "created": text_time(issue.created),
            "updated": text_time(shape.updated),
            "reporter": self.user(issue.reporter),
        }

    def status(self, name: str) -> dict[str, Any]:
        """Return a status of the platform with its category."""
        key = WORKFLOW[name][0]
        number, called = CATEGORIES[key]
        place = STATUSES.index(name) + 1
        return {
            "self": f"{self.platform}/status/{place}",
            "description": "",
            "iconUrl": f"{self.url}/images/icons/status.png",
            "name": name,
            "id": str(place),
            "statusCategory": {
                "self": f"{self.platform}/statuscategory/{number}",
                "id": number,
                "key": key,
                "colorName": "blue-gray",
                "name": called,
            },
        }

    def transitions(self, status: str) -> dict[str, Any]:
        """Return the transitions that lead away from a status."""
        offered = [
            {
                "id": transition_id(status, name),
                "name": name,
                "to": self.status(to),
                "hasScreen": False,
                "isGlobal": False,
                "isInitial": False,
                "isAvailable": True,
                "isConditional": False,
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
                "created": text_time(entry["at"]),
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

    def request(self, issue: Issue, shape: Shape) -> dict[str, Any]:
        """Return a request of the service desk."""
        assert issue.request is not None
        category = DESK_CATEGORIES[WORKFLOW[shape.status][0]]
        return {
            "_expands": ["participant", "status", "sla", "requestType", "serviceDesk"],
            "issueId": issue.id,
            "issueKey": shape.key,
            "requestTypeId": issue.request["requestTypeId"],
            "serviceDeskId": issue.request["serviceDeskId"],
            "createdDate": date(issue.created),
            "reporter": self.customer(issue.reporter),
            "requestFieldValues": [
                {"fieldId": name, "label": name.title(), "value": value}
                for name, value in shape.fields.items()
            ],
            "currentStatus": {
                "status": shape.status,
                "statusCategory": category,
                "statusDate": date(shape.updated),
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
        place = f"{self.url}/rest/servicedeskapi/request/{issue.id}/approval/{approval['id']}"
        shown = {
            "id": approval["id"],
            "name": approval["name"],
            "finalDecision": approval["finalDecision"],
            "canAnswerApproval": approval["finalDecision"] == "pending",
            "approvers": [
                {**row, "approver": self.customer(row["approver"])} for row in approval["approvers"]
            ],
            "createdDate": date(approval["created"]),
            "_links": {"self": place},
        }
        completed = approval["completed"]
        return shown | ({"completedDate": date(completed)} if completed else {})


def page(values: Sequence[Any], start: int, limit: int) -> dict[str, Any]:
    """Return one page of a list as the service desk writes it."""
    shown = values[start : start + limit]
    return {
        "_expands": [],
        "size": len(shown),
        "start": start,
        "limit": limit,
        "isLastPage": start + limit >= len(values),
        "values": shown,
    }


def account(name: str, *, cloud: bool) -> str:
    """Return what a site knows a user by."""
    return f"5b10:{name.encode().hex()}" if cloud else name


def transition_id(status: str, name: str) -> str:
    """Return the id of a transition."""
    return f"{STATUSES.index(status) + 1}{list(WORKFLOW[status][1]).index(name) + 1}"


def platform_error(
    status: int, *messages: str, fields: Mapping[str, str] | None = None
) -> web.Response:
    """Refuse as the platform does."""
    return answer(status, {"errorMessages": list(messages), "errors": dict(fields or {})})


def desk_error(status: int, message: str) -> web.Response:
    """Refuse as the service desk does."""
    i18n = {"i18nKey": "sd.error", "parameters": [message]}
    return answer(status, {"errorMessage": message, "i18nErrorMessage": i18n})
