"""The ticket systems of the contract tests: each adapter with its own simulator."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import orjson
from typing_extensions import override

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
from proxy.simulators.ticket_system import TicketSimulator
from proxy.tickets.kinds import open_system
from proxy.tickets.port import TicketSystem
from tests.support.declarations import desk_mapping

SECRET: Final = "event-secret"
DEADLINE: Final = 5_000


@dataclass
class AdapterBench(ABC):
    """An adapter and its simulator, as the contract uses them for every kind of system."""

    unknown_ticket: ClassVar[str]
    """The id of a ticket that does not exist."""

    system: TicketSystem

    @property
    @abstractmethod
    def simulator(self) -> TicketSimulator:
        """The simulator behind the adapter."""

    @abstractmethod
    def decide(self, ticket_id: str, decision: str) -> None:
        """Approve or reject as a person, or set a status that no map contains (`unknown`)."""

    @abstractmethod
    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        """Return a signed event about a ticket, sent at `now` (milliseconds)."""

    def lose_answer(self, operation: str, times: int = 1) -> None:
        """Carry operations out, but lose their answers."""
        self.simulator.switch_on(Fault(operation, "reset", times=times, after_effect=True))

    def refuse(self, operation: str, status: int, *, retry_after: str | None = None) -> None:
        """Answer the next operation with a status, without carrying it out."""
        self.simulator.switch_on(Fault(operation, "answer", status=status, retry_after=retry_after))

    def expire_token(self, operation: str, times: int = 1) -> None:
        """Refuse the access token."""
        self.simulator.switch_on(Fault(operation, "expire", times=times))

    def refuse_client(self) -> None:
        """Refuse our credential at the token endpoint from now on."""
        self.simulator.authorization.refuse_client = True
        self.simulator.authorization.revoke_all()

    def created(self) -> int:
        """Return the number of tickets in the journal of the simulator."""
        return len(self.simulator.journal.of("created"))


@dataclass
class DeskBench(AdapterBench):
    """The `rest` adapter and the simulated desk."""

    desk: Desk
    unknown_ticket = "no-such-ticket"

    @property
    @override
    def simulator(self) -> TicketSimulator:
        return self.desk

    @override
    def decide(self, ticket_id: str, decision: str) -> None:
        self.desk.decide(ticket_id, "escalated" if decision == "unknown" else decision, by="olga")

    @override
    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        body = orjson.dumps({"ticket": {"id": ticket_id}})
        return signed_headers(SECRET, body, event_id="e-1", seconds=now // 1_000), body


@dataclass
class ServiceNowBench(AdapterBench):
    """The `servicenow` adapter and the simulated instance."""

    instance: ServiceNow
    unknown_ticket = "0" * 32

    @property
    @override
    def simulator(self) -> TicketSimulator:
        return self.instance

    @override
    def decide(self, ticket_id: str, decision: str) -> None:
        self.instance.decide(ticket_id, "on hold" if decision == "unknown" else decision)

    @override
    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        _, headers, body = signed_payload(
            SECRET, "updated", {"sys_id": ticket_id, "number": "n"}, now
        )
        return headers, body


@dataclass
class JiraBench(AdapterBench):
    """The `jira` adapter and the simulated site."""

    site: Jira
    unknown_ticket = "999999"

    @property
    @override
    def simulator(self) -> TicketSimulator:
        return self.site

    @override
    def decide(self, ticket_id: str, decision: str) -> None:
        self.site.decide(ticket_id, "Escalated" if decision == "unknown" else decision)

    @override
    def event(self, ticket_id: str, *, now: int) -> tuple[Mapping[str, str], bytes]:
        _, headers, body = signed(SECRET, "updated", {"id": ticket_id, "key": "ACC-1"}, now)
        return headers, body


def oauth_destination(
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
async def rest_bench() -> AsyncIterator[AdapterBench]:
    async with (
        Desk(client_id="proxy", client_secret="s3cret", event_secret=SECRET) as desk,
        Outbound(loopback=True) as outbound,
    ):
        system = open_system(
            name="desk",
            declaration={**desk_mapping(), **LISTS, "base_url": desk.url},
            http=oauth_destination(outbound, desk.url, "/oauth/token"),
            event_secrets=lambda: [SECRET.encode()],
        )
        yield DeskBench(system, desk)


@asynccontextmanager
async def servicenow_bench(**declared: Any) -> AsyncIterator[ServiceNowBench]:
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
            http=oauth_destination(outbound, instance.url, "/oauth_token.do"),
            event_secrets=lambda: [SECRET.encode()],
        )
        yield ServiceNowBench(system, instance)


@asynccontextmanager
async def order_bench() -> AsyncIterator[AdapterBench]:
    """Open the adapter for orders from the service catalog."""
    order = {"item": CATALOG_ITEM, "correlation_variable": "request_of_witboost"}
    async with servicenow_bench(order=order) as rig:
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
        http=oauth_destination(outbound, site.url, "/oauth/token", through=through),
        event_secrets=lambda: [SECRET.encode()],
    )


def jira_site(**differing: Any) -> Jira:
    """Return a site that knows our client."""
    account: dict[str, Any] = {"client_id": "proxy", "client_secret": "s3cret"}
    return Jira(**account, event_secret=SECRET, **differing)


@asynccontextmanager
async def jira_bench(
    site: Mapping[str, Any] | None = None, **declared: Any
) -> AsyncIterator[JiraBench]:
    """Open the adapter and a site; `site` says how that differs."""
    async with jira_site(**(site or {})) as simulated, Outbound(loopback=True) as outbound:
        yield JiraBench(jira_system(outbound, simulated, **declared), simulated)


BENCHES: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[AdapterBench]]]] = {
    "rest": rest_bench,
    "servicenow": servicenow_bench,
    "servicenow order": order_bench,
    "jira request": jira_bench,
    "jira issue": partial(jira_bench, issue=ISSUE, correlation_field="labels", **BY_STATUS),
    "jira data center": partial(jira_bench, {"cloud": False}),
}
"""Every adapter; the contract runs on each."""
