"""The scenes of the demo: each sends a request, decides its ticket, and awaits the final status.

No scene waits for a time to pass: it goes on when a journal shows that something has happened.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from proxy.demo.simulator_client import SimulatorClient
from proxy.demo.stage import Stage
from proxy.demo.timeline import Timeline
from proxy.simulators.journal import Entry

_SOON: Final = 10.0
"""Seconds to wait for an entry; far more than it takes, for busy machines."""
_LATER: Final = 25.0
"""Seconds to wait for an entry that follows the end of a lease."""
_OUTAGE: Final = 2.5

GRANT: Final[Mapping[str, Any]] = {
    "identities": ["john.doe_company.com"],
    "verb": "grant",
    "motivation": "I need access to the sales figures for the quarterly report",
    "domain": "finance",
    "role": "data_engineer",
}
REVOKE: Final[Mapping[str, Any]] = {
    **GRANT,
    "verb": "revoke",
    "motivation": "He has moved to another department",
}


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request: the hook that waits at witboost, and the correlation id."""

    hook_id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Play:
    """The actions of a scene; each also writes what has happened into the timeline.

    `requests` has the scene of each request, by correlation id.
    """

    stage: Stage
    timeline: Timeline
    scene: "Scene"
    requests: dict[str, "Scene"]

    async def send_request(self, fields: Mapping[str, Any]) -> SentRequest:
        """Make witboost send a hook call, which must be accepted."""
        response = await self.stage.witboost.post("/requests", {"fields": dict(fields)})
        info = (response["body"] or {}).get("hookInfo", {})
        await self.timeline.catch_up()
        if "correlationId" not in info:
            raise TimeoutError(f"the proxy answered {response['status']} to a hook call, not 202")
        request = SentRequest(response["hookId"], info["correlationId"])
        self.requests[request.correlation_id] = self.scene
        return request

    async def await_entry(
        self, simulator: SimulatorClient, kind: str, *, within: float = _SOON, **fields: Any
    ) -> Entry:
        """Wait until a journal has an entry, and return it; raises TimeoutError."""
        entry = await simulator.next_of(kind, within=within, **fields)
        await self.timeline.catch_up()
        return entry

    async def await_ticket(self, request: SentRequest) -> str:
        """Wait for the ticket of a request, and return its id."""
        entry = await self.await_entry(
            self.stage.desk, "created", correlation_id=request.correlation_id
        )
        return str(entry["ticket"])

    async def await_first_read(self, ticket: str) -> None:
        """Wait until the proxy has read the undecided ticket."""
        await self.await_entry(
            self.stage.desk, "read", ticket=ticket, status=self.stage.kind.initial_status
        )

    async def open_ticket(self, fields: Mapping[str, Any]) -> tuple[SentRequest, str]:
        """Send a request, and wait until the proxy has created and read its ticket."""
        request = await self.send_request(fields)
        ticket = await self.await_ticket(request)
        await self.await_first_read(ticket)
        return request, ticket

    async def decide(self, ticket: str, decision: str, comment: str) -> None:
        """Decide a ticket as the person at the desk."""
        body = {"decision": decision, "by": "olga", "comment": comment}
        await self.stage.desk.post(self.stage.kind.decision(ticket), body)
        await self.timeline.catch_up()

    async def await_callback(self, request: SentRequest, *, within: float = _SOON) -> None:
        """Wait until witboost has accepted the final status."""
        await self.await_entry(
            self.stage.witboost, "callback", hook=request.hook_id, outcome="accepted", within=within
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene; `status` is the final status that its request must get."""

    name: str
    title: str
    shows: str
    play: Callable[[Play], Awaitable[None]]
    status: Literal["OK", "KO"]


async def _approved(play: Play) -> None:
    request, ticket = await play.open_ticket(GRANT)
    await play.decide(ticket, "approved", "fine")
    await play.await_entry(play.stage.desk, "event", ticket=ticket, answer=202)
    await play.await_callback(request)


async def _rejected(play: Play) -> None:
    request, ticket = await play.open_ticket(GRANT)
    await play.stage.desk.switch_on("event", "lose", times=None, subject=ticket)
    await play.decide(ticket, "rejected", "ask your team lead first")
    await play.await_callback(request)


async def _revoked(play: Play) -> None:
    request, ticket = await play.open_ticket(REVOKE)
    await play.decide(ticket, "approved", "access not needed any more")
    await play.await_callback(request)


async def _desk_down(play: Play) -> None:
    play.timeline.note("desk", f"goes down for {_OUTAGE} s: its port is closed")
    await play.stage.desk.go_down(_OUTAGE)
    request = await play.send_request(GRANT)
    reason = await play.stage.reason(request.correlation_id, within=_SOON)
    play.timeline.note("proxy", f"reports the reason: {reason}")
    await play.timeline.catch_up()
    await play.await_entry(play.stage.desk, "up")
    ticket = await play.await_ticket(request)
    await play.await_first_read(ticket)
    await play.decide(ticket, "approved", "fine, and sorry for the wait")
    await play.await_callback(request)


async def _killed(play: Play) -> None:
    stage = play.stage
    await stage.desk.switch_on("create", "hang", after_effect=True)
    request = await play.send_request(GRANT)
    ticket = await play.await_ticket(request)
    await stage.kill_proxy()
    play.timeline.note("proxy", "is killed (SIGKILL) before it receives the ticket's key")
    await stage.desk.switch_off()
    await play.decide(ticket, "approved", "fine")
    await play.await_entry(stage.desk, "event", ticket=ticket, answer=None)
    play.timeline.note("proxy", "starts again")
    await stage.start_proxy()
    play.timeline.note("proxy", f"is ready: process {stage.children['proxy'].pid}")
    find = {"correlation_id": request.correlation_id, "found": 1}
    await play.await_entry(stage.desk, "find", within=_LATER, **find)
    await play.await_callback(request, within=_LATER)


SCENES: Final = (
    Scene(
        "approved",
        "Approved, announced by an event",
        "The desk pushes a signed event, which is only a hint; the proxy reads the ticket and calls"
        " back.",
        _approved,
        "OK",
    ),
    Scene(
        "rejected",
        "Rejected, found by polling",
        "The event is lost; the proxy polls the ticket and finds the decision.",
        _rejected,
        "KO",
    ),
    Scene(
        "revoke",
        "A revoke",
        "Access is revoked in the same way, with its own ticket and its own final status.",
        _revoked,
        "OK",
    ),
    Scene(
        "desk down",
        "The desk is down",
        "The hook call is accepted anyway; the ticket is created when the desk is up again.",
        _desk_down,
        "OK",
    ),
    Scene(
        "killed",
        "Killed after the desk created a ticket",
        "The desk's answer is lost with the proxy. After its restart it finds that ticket.",
        _killed,
        "OK",
    ),
)
