"""Ticket systems under the contract: each real adapter with a simulator of its own behind it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import orjson

from proxy.app.destinations import TICKET_ANSWER_LIMIT
from proxy.domain.clock import SystemClock
from proxy.oauth2.client_authentication import ClientSecretBasic
from proxy.oauth2.discovery import StaticMetadata
from proxy.oauth2.endpoint import TokenEndpoint
from proxy.oauth2.grants import ClientCredentials
from proxy.oauth2.token_source import TokenSource
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from proxy.simulators.desk.server import Desk
from proxy.simulators.events import signed_headers
from proxy.simulators.faults import Fault
from proxy.simulators.jira.events import signed
from proxy.simulators.jira.issues import TEXT_FIELD
from proxy.simulators.jira.server import REQUEST_TYPE, SERVICE_DESK, Jira
from proxy.simulators.servicenow.events import signed_payload
from proxy.simulators.servicenow.server import ServiceNow
from proxy.simulators.servicenow.tables import CATALOG_ITEM
from proxy.tickets.kinds import open_system
from proxy.tickets.port import TicketSystem
from tests.support.declarations import desk_mapping

SECRET: Final = "event-secret"
DEADLINE: Final = 5_000


class Rig(Protocol):
    """What the contract needs of a simulator, in words that every ticket system knows."""

    system: TicketSystem
    unknown_ticket: str

    def decide(self, ticket_id: str, decision: str) -> None:
        """Let a person approve, reject, or choose a status that no map knows (`unknown`)."""

    def lose_answer(self, operation: str, times: int = 1) -> None:
        """Let operations have their effect and lose their answers."""

    def refuse(self, operation: str, status: int, *, retry_after: str | None = None) -> None:
        """Answer the next operation with a status, without effect."""

    def expire_token(self, operation: str, times: int = 1) -> None:
        """Let the token be refused."""

    def refuse_client(self) -> None:
        """Let the token endpoint refuse our credential from now on."""

    def created(self) -> int:
        """How many tickets there are, seen by the simulator itself."""

    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        """Return a signed event about a ticket, sent at `now` (milliseconds)."""


@dataclass
class DeskRig:
    """The `rest` adapter and the simulated desk."""

    system: TicketSystem
    desk: Desk
    unknown_ticket: str = "no-such-ticket"

    def decide(self, ticket_id: str, decision: str) -> None:
        self.desk.decide(ticket_id, "escalated" if decision == "unknown" else decision, by="olga")

    def lose_answer(self, operation: str, times: int = 1) -> None:
        self.desk.switch_on(Fault(operation, "reset", times=times, after_effect=True))

    def refuse(self, operation: str, status: int, *, retry_after: str | None = None) -> None:
        self.desk.switch_on(Fault(operation, "answer", status=status, retry_after=retry_after))

    def expire_token(self, operation: str, times: int = 1) -> None:
        self.desk.switch_on(Fault(operation, "expire", times=times))

    def refuse_client(self) -> None:
        self.desk.authorization.refuse_client = True
        self.desk.authorization.revoke_all()

    def created(self) -> int:
        return len(self.desk.journal.of("created"))

    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        body = orjson.dumps({"ticket": {"id": ticket_id}})
        return signed_headers(SECRET, body, event_id="e-1", seconds=now // 1_000), body


@dataclass
class ServiceNowRig:
    """The `servicenow` adapter and the simulated instance."""

    system: TicketSystem
    instance: ServiceNow
    unknown_ticket: str = "0" * 32

    def decide(self, ticket_id: str, decision: str) -> None:
        self.instance.decide(ticket_id, "on hold" if decision == "unknown" else decision)

    def lose_answer(self, operation: str, times: int = 1) -> None:
        self.instance.switch_on(Fault(operation, "reset", times=times, after_effect=True))

    def refuse(self, operation: str, status: int, *, retry_after: str | None = None) -> None:
        self.instance.switch_on(Fault(operation, "answer", status=status, retry_after=retry_after))

    def expire_token(self, operation: str, times: int = 1) -> None:
        self.instance.switch_on(Fault(operation, "expire", times=times))

    def refuse_client(self) -> None:
        self.instance.authorization.refuse_client = True
        self.instance.authorization.revoke_all()

    def created(self) -> int:
        return len(self.instance.journal.of("created"))

    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        _, headers, body = signed_payload(
            SECRET, "updated", {"sys_id": ticket_id, "number": "n"}, now
        )
        return headers, body


@dataclass
class JiraRig:
    """The `jira` adapter and the simulated site."""

    system: TicketSystem
    site: Jira
    unknown_ticket: str = "999999"

    def decide(self, ticket_id: str, decision: str) -> None:
        self.site.decide(ticket_id, "Escalated" if decision == "unknown" else decision)

    def lose_answer(self, operation: str, times: int = 1) -> None:
        self.site.switch_on(Fault(operation, "reset", times=times, after_effect=True))

    def refuse(self, operation: str, status: int, *, retry_after: str | None = None) -> None:
        self.site.switch_on(Fault(operation, "answer", status=status, retry_after=retry_after))

    def expire_token(self, operation: str, times: int = 1) -> None:
        self.site.switch_on(Fault(operation, "expire", times=times))

    def refuse_client(self) -> None:
        self.site.authorization.refuse_client = True
        self.site.authorization.revoke_all()

    def created(self) -> int:
        return len(self.site.journal.of("created"))

    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        _, headers, body = signed(SECRET, "updated", {"id": ticket_id, "key": "ACC-1"}, now)
        return headers, body


def connected(
    outbound: Outbound, origin: str, token_path: str, *, through: str = ""
) -> Destination:
    """Return a destination with OAuth2, as the program makes one.

    `through` is where the API is reached, if not where tokens are issued.
    """
    clock = SystemClock()
    authorization = outbound.destination(
        "desk token",
        origins=[origin],
        deadline=DEADLINE,
        concurrency=1,
        credential=NoCredential(),
    )
    endpoint = TokenEndpoint(
        connect=lambda _: authorization,
        metadata=StaticMetadata("", f"{origin}{token_path}"),
        authentications=[ClientSecretBasic("proxy", lambda: "s3cret")],
        clock=clock,
    )
    fetch = partial(endpoint.ask, ClientCredentials())
    return outbound.destination(
        "desk",
        origins=[through or origin],
        deadline=DEADLINE,
        concurrency=4,
        answer_limit=TICKET_ANSWER_LIMIT,
        credential=TokenSource(fetch=fetch, clock=clock, dice=lambda: 0.0, name="desk"),
    )


LISTS: Final[Mapping[str, Any]] = {
    "read_many": {
        "path": "/api/tickets",
        "query": {"ids": "{{ ids | join(',') }}"},
        "tickets": "tickets",
    },
    "changes": {
        "path": "/api/tickets",
        "query": {"updated_since": "{{ since }}"},
        "tickets": "tickets",
        "updated": "updated",
        "pages": {"style": "offset", "parameter": "offset", "more": "more"},
    },
}
"""The calls of the desk that answer with many tickets."""


@asynccontextmanager
async def rest_rig() -> AsyncIterator[Rig]:
    async with (
        Desk(client_id="proxy", client_secret="s3cret", event_secret=SECRET) as desk,
        Outbound(loopback=True) as outbound,
    ):
        system = open_system(
            name="desk",
            declaration={**desk_mapping(), **LISTS, "base_url": desk.url},
            http=connected(outbound, desk.url, "/oauth/token"),
            event_secrets=lambda: [SECRET.encode()],
        )
        yield DeskRig(system, desk)


@asynccontextmanager
async def servicenow_rig(**declared: Any) -> AsyncIterator[ServiceNowRig]:
    """Open the adapter with some parts of its declaration replaced."""
    async with (
        ServiceNow(client_id="proxy", client_secret="s3cret", event_secret=SECRET) as instance,
        Outbound(loopback=True) as outbound,
    ):
        declaration: dict[str, Any] = {
            "kind": "servicenow",
            "base_url": instance.url,
            "cancel": {"approval": "cancelled", "state": "4"},
            "fulfilment": {"3": "fulfilled"},
            "events": {},
        }
        system = open_system(
            name="desk",
            declaration=declaration | declared,
            http=connected(outbound, instance.url, "/oauth_token.do"),
            event_secrets=lambda: [SECRET.encode()],
        )
        yield ServiceNowRig(system, instance)


@asynccontextmanager
async def order_rig() -> AsyncIterator[Rig]:
    """Open the adapter for orders from the service catalog."""
    order = {"item": CATALOG_ITEM, "correlation_variable": "request_of_witboost"}
    async with servicenow_rig(order=order) as rig:
        yield rig


REQUEST: Final = {"service_desk": SERVICE_DESK, "request_type": REQUEST_TYPE}
ISSUE: Final = {"project": "ABC", "type": "Task"}
BY_STATUS: Final[Mapping[str, Any]] = {
    "decide_by": "status",
    "decision": {"In progress": "approved", "Declined": "rejected", "Canceled": "cancelled"},
}


def jira_system(
    outbound: Outbound, site: Jira, *, through: str = "", **declared: Any
) -> TicketSystem:
    """Return the adapter for requests, with some parts of its declaration replaced.

    `through` is where the site is reached, if not directly.
    """
    declaration: dict[str, Any] = {
        "kind": "jira",
        "base_url": through or site.url,
        "deployment": "cloud" if site.cloud else "data_center",
        "request": REQUEST,
        "correlation_field": TEXT_FIELD,
        "closed": {"Canceled": "cancelled"},
        "cancel": {"transition": "Cancel request"},
        "fulfilment": {"Done": "fulfilled"},
        "events": {},
    }
    if "issue" in declared:
        del declaration["request"], declaration["closed"]
    return open_system(
        name="desk",
        declaration=declaration | declared,
        http=connected(outbound, site.url, "/oauth/token", through=through),
        event_secrets=lambda: [SECRET.encode()],
    )


def jira_site(**differing: Any) -> Jira:
    """Return a site that knows our client."""
    account: dict[str, Any] = {"client_id": "proxy", "client_secret": "s3cret"}
    return Jira(**account, event_secret=SECRET, **differing)


@asynccontextmanager
async def jira_rig(
    site: Mapping[str, Any] | None = None, **declared: Any
) -> AsyncIterator[JiraRig]:
    """Open the adapter and a site; `site` says how that differs."""
    async with jira_site(**(site or {})) as simulated, Outbound(loopback=True) as outbound:
        yield JiraRig(jira_system(outbound, simulated, **declared), simulated)


RIGS: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[Rig]]]] = {
    "rest": rest_rig,
    "servicenow": servicenow_rig,
    "servicenow order": order_rig,
    "jira request": jira_rig,
    "jira issue": partial(jira_rig, issue=ISSUE, correlation_field="labels", **BY_STATUS),
    "jira data center": partial(jira_rig, {"cloud": False}),
}
"""Every adapter; the contract runs on each."""
