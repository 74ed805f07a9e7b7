"""The kinds of ticket system that flows are played on: simulator, declaration, what people do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from typing_extensions import override

from proxy.domain.clock import Clock
from proxy.simulators.desk.server import Desk
from proxy.simulators.jira.issues import TEXT_FIELD
from proxy.simulators.jira.server import REQUEST_TYPE, SERVICE_DESK, Jira
from proxy.simulators.journal import Entry
from proxy.simulators.server import Simulator
from proxy.simulators.servicenow.server import ServiceNow
from proxy.simulators.servicenow.tables import CATALOG_ITEM
from tests.support.rig import CLIENT_SECRET, EVENT_SECRET, desk_tree

NEW: Final = "new"
"""The status of a ticket that nobody has decided, in the words of all systems here."""


class Site(Protocol):
    """One simulated ticket system and the people who sit before it."""

    simulator: Simulator
    creates: Sequence[str]
    """Labels of the steps that create a ticket."""

    def declare(self) -> dict[str, Any]:
        """Return its declaration as settings have it."""

    def send_events_to(self, url: str) -> None:
        """Push events there."""

    async def events_sent(self) -> None:
        """Wait until no event is on its way."""

    def tickets(self) -> Mapping[str, str]:
        """Return every ticket that was read, with its status."""

    def decide(self, ticket: str, status: str, by: str) -> None:
        """Set the status as a person does."""

    def journal(self, correlation_id: str) -> Sequence[Entry]:
        """Return what happened there, in the words of the verdict; in a life is one request."""


@dataclass
class RestSite(Site):
    """The desk, behind the `rest` adapter."""

    simulator: Desk
    creates: Sequence[str] = ("POST /api/tickets",)

    @override
    def declare(self) -> dict[str, Any]:
        return desk_tree(self.simulator.url)

    @override
    def send_events_to(self, url: str) -> None:
        self.simulator.events.target = url

    @override
    async def events_sent(self) -> None:
        await self.simulator.events_sent()

    @override
    def tickets(self) -> Mapping[str, str]:
        read = {entry["ticket"] for entry in self.simulator.journal.of("read")}
        return {it["id"]: it["status"] for it in self.simulator.tickets.all() if it["id"] in read}

    @override
    def decide(self, ticket: str, status: str, by: str) -> None:
        self.simulator.decide(ticket, status, by=by)

    @override
    def journal(self, correlation_id: str) -> Sequence[Entry]:
        return self.simulator.journal.entries


@dataclass
class ServiceNowSite(Site):
    """A ServiceNow instance, behind the `servicenow` adapter; `order` orders from its catalog."""

    simulator: ServiceNow
    order: bool = False

    def __post_init__(self) -> None:
        catalog = "POST /api/sn_sc/servicecatalog/items/*/order_now"
        self.creates = [catalog if self.order else "POST /api/now/table/change_request"]
        self._table = "sc_req_item" if self.order else "change_request"

    @override
    def declare(self) -> dict[str, Any]:
        url = self.simulator.url
        tree: dict[str, Any] = {
            "kind": "servicenow",
            "base_url": url,
            "allow_http": True,
            "auth": {
                "kind": "oauth2",
                "token_url": f"{url}/oauth_token.do",
                "client_id": "proxy",
                "client_secret": CLIENT_SECRET,
            },
            "cancel": {"approval": "cancelled", "state": "4"},
            "fulfilment": {"3": "fulfilled", "4": "failed"},
            "deadline": "2s",
            "settle": "5s",
            "events": {"secrets": [EVENT_SECRET]},
        }
        if self.order:
            tree["order"] = {"item": CATALOG_ITEM, "correlation_variable": "request_of_witboost"}
        return tree

    @override
    def send_events_to(self, url: str) -> None:
        self.simulator.events.target = url

    @override
    async def events_sent(self) -> None:
        await self.simulator.events_sent()

    @override
    def tickets(self) -> Mapping[str, str]:
        read = {entry["ticket"] for entry in self.simulator.journal.of("read")}
        return {
            row["sys_id"]: _STATUSES.get(row["state"]) or _APPROVALS[row["approval"]]
            for row in self.simulator.rows(self._table)
            if row["sys_id"] in read
        }

    @override
    def decide(self, ticket: str, status: str, by: str) -> None:
        if status in _FULFILMENT:
            self.simulator.change(ticket, {"state": _FULFILMENT[status]})
        else:
            self.simulator.decide(ticket, status, by=by)

    @override
    def journal(self, correlation_id: str) -> Sequence[Entry]:
        """An order carries the correlation id in a variable, which its ticket does not show."""
        return [
            {**it, "correlation_id": it.get("correlation_id") or correlation_id}
            for it in self.simulator.journal.entries
        ]


@dataclass
class JiraSite(Site):
    """A Jira site, behind the `jira` adapter: requests with approvals, or plain issues."""

    simulator: Jira
    request: bool = True

    def __post_init__(self) -> None:
        self.creates = [
            "POST /rest/servicedeskapi/request" if self.request else "POST /rest/api/*/issue"
        ]

    @override
    def declare(self) -> dict[str, Any]:
        url = self.simulator.url
        tree: dict[str, Any] = {
            "kind": "jira",
            "deployment": "cloud" if self.simulator.cloud else "data_center",
            "base_url": url,
            "allow_http": True,
            "auth": {
                "kind": "oauth2",
                "token_url": f"{url}/oauth/token",
                "client_id": "proxy",
                "client_secret": CLIENT_SECRET,
            },
            "correlation_field": TEXT_FIELD,
            "cancel": {"transition": "Cancel request"},
            "fulfilment": {"Done": "fulfilled"},
            "deadline": "2s",
            "settle": "5s",
            "events": {"secrets": [EVENT_SECRET]},
        }
        if self.request:
            wanted = {"service_desk": SERVICE_DESK, "request_type": REQUEST_TYPE}
            return {**tree, "request": wanted, "closed": {"Canceled": "cancelled"}}
        return {
            **tree,
            "issue": {"project": "ABC", "type": "Task"},
            "decide_by": "status",
            "decision": {
                "In progress": "approved",
                "Done": "approved",
                "Declined": "rejected",
                "Canceled": "cancelled",
            },
        }

    @override
    def send_events_to(self, url: str) -> None:
        self.simulator.events.target = url

    @override
    async def events_sent(self) -> None:
        await self.simulator.events_sent()

    @override
    def tickets(self) -> Mapping[str, str]:
        kinds = {"read", "approval"}
        read = {it["ticket"] for it in self.simulator.journal.entries if it["kind"] in kinds}
        return {
            issue.id: _JIRA_STATUSES[issue.state.status]
            for issue in self.simulator.issues
            if issue.id in read
        }

    @override
    def decide(self, ticket: str, status: str, by: str) -> None:
        self.simulator.decide(ticket, "Done" if status == "done" else status, by=by)
        self.simulator.journal.record("status", ticket=ticket, status=status)

    @override
    def journal(self, correlation_id: str) -> Sequence[Entry]:
        return [
            {"key": it.get("ticket"), **it, "correlation_id": correlation_id}
            for it in self.simulator.journal.entries
        ]


_JIRA_STATUSES: Final = {
    "Open": NEW,
    "Waiting for approval": NEW,
    "In progress": "approved",
    "Done": "done",
    "Declined": "rejected",
    "Canceled": "cancelled",
}
_APPROVALS: Final = {
    "not requested": NEW,
    "requested": NEW,
    "approved": "approved",
    "rejected": "rejected",
    "cancelled": "cancelled",
}
_FULFILMENT: Final = {"done": "3", "failed": "4"}
_STATUSES: Final = {state: status for status, state in _FULFILMENT.items()}

Open = Callable[[Clock], Site]
_ACCOUNT: Final[Mapping[str, Any]] = {
    "client_id": "proxy",
    "client_secret": CLIENT_SECRET,
    "event_secret": EVENT_SECRET,
}

SITES: Final[Mapping[str, Open]] = {
    "rest": lambda clock: RestSite(Desk(**_ACCOUNT, clock=clock)),
    "servicenow": lambda clock: ServiceNowSite(ServiceNow(**_ACCOUNT, clock=clock)),
    "servicenow order": lambda clock: ServiceNowSite(
        ServiceNow(**_ACCOUNT, clock=clock), order=True
    ),
    "jira request": lambda clock: JiraSite(Jira(**_ACCOUNT, clock=clock)),
    "jira issue": lambda clock: JiraSite(
        Jira(**_ACCOUNT, clock=clock, initial="Open"), request=False
    ),
}
"""Every kind of ticket system; flows run on each."""
