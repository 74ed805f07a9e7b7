"""Ticket systems under the contract: each real adapter with a simulator of its own behind it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import orjson

from proxy.demo.desk import Desk
from proxy.demo.events import signed_headers
from proxy.demo.faults import Fault
from proxy.domain.clock import SystemClock
from proxy.oauth2.client_authentication import ClientSecretBasic
from proxy.oauth2.discovery import Fixed
from proxy.oauth2.endpoint import TokenEndpoint
from proxy.oauth2.grants import ClientCredentials
from proxy.oauth2.source import TokenSource
from proxy.outbound import NoCredential, Outbound
from proxy.tickets import open_system
from proxy.tickets.port import TicketSystem
from tests.tickets.declarations import desk_mapping

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


@asynccontextmanager
async def rest_rig() -> AsyncIterator[Rig]:
    async with (
        Desk(client_id="proxy", client_secret="s3cret", event_secret=SECRET) as desk,
        Outbound() as outbound,
    ):
        clock = SystemClock()
        authorization = outbound.destination(
            "desk token",
            origins=[desk.url],
            deadline=DEADLINE,
            concurrency=1,
            credential=NoCredential(),
        )
        endpoint = TokenEndpoint(
            connect=lambda _: authorization,
            metadata=Fixed("", f"{desk.url}/oauth/token"),
            authentications=[ClientSecretBasic("proxy", lambda: "s3cret")],
            clock=clock,
        )
        fetch = partial(endpoint.ask, ClientCredentials())
        http = outbound.destination(
            "desk",
            origins=[desk.url],
            deadline=DEADLINE,
            concurrency=4,
            credential=TokenSource(fetch=fetch, clock=clock, dice=lambda: 0.0, name="desk"),
        )
        system = open_system(
            name="desk",
            declaration=desk_mapping() | {"base_url": desk.url},
            http=http,
            event_secrets=lambda: [SECRET.encode()],
        )
        yield DeskRig(system, desk)


RIGS: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[Rig]]]] = {"rest": rest_rig}
"""Every adapter; the contract runs on each."""
