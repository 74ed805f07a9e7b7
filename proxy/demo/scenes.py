"""The scenes of the demo: each asks for something, lets somebody decide, and waits for the end.

Nothing here waits for time to pass: a scene goes on when it reads in a journal that something has
happened.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from proxy.demo.simulator_client import SimulatorClient
from proxy.demo.stage import Stage
from proxy.demo.timeline import Timeline
from proxy.simulators.journal import Entry

_SOON: Final = 10.0
"""Seconds in which anything must happen; far more than it takes, for the sake of busy machines."""
_LATER: Final = 25.0
"""Seconds for what begins with the end of a lease."""
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
class Asked:
    """A request: the hook that waits at witboost, and what the proxy calls it."""

    hook_id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Play:
    """What a scene does and awaits; whatever happened meanwhile goes into the timeline.

    `requests` keeps which scene each request belongs to, by correlation id.
    """

    stage: Stage
    timeline: Timeline
    scene: "Scene"
    requests: dict[str, "Scene"]

    async def ask(self, fields: Mapping[str, Any]) -> Asked:
        """Let witboost send a hook call, which must be accepted."""
        sent = await self.stage.witboost.post("/requests", {"fields": dict(fields)})
        told = (sent["body"] or {}).get("hookInfo", {})
        await self.timeline.catch_up()
        if "correlationId" not in told:
            raise TimeoutError(f"the proxy answered {sent['status']} to a hook call, not 202")
        asked = Asked(sent["hookId"], told["correlationId"])
        self.requests[asked.correlation_id] = self.scene
        return asked

    async def seen(
        self, there: SimulatorClient, kind: str, *, within: float = _SOON, **fields: Any
    ) -> Entry:
        """Wait until a journal has an entry; raises TimeoutError."""
        entry = await there.next_of(kind, within=within, **fields)
        await self.timeline.catch_up()
        return entry

    async def ticket(self, asked: Asked) -> str:
        """Wait for the ticket of a request, and return its id."""
        entry = await self.seen(self.stage.desk, "created", correlation_id=asked.correlation_id)
        return str(entry["ticket"])

    async def looked_at(self, ticket: str) -> None:
        """Wait until the proxy has read the ticket as it is before anybody decides."""
        await self.seen(self.stage.desk, "read", ticket=ticket, status=self.stage.cast.untouched)

    async def decide(self, ticket: str, decision: str, comment: str) -> None:
        """Do what the person at the desk does."""
        body = {"decision": decision, "by": "olga", "comment": comment}
        await self.stage.desk.post(self.stage.cast.decision(ticket), body)
        await self.timeline.catch_up()

    async def told(self, asked: Asked, *, within: float = _SOON) -> None:
        """Wait until witboost has taken the final status."""
        await self.seen(
            self.stage.witboost, "callback", hook=asked.hook_id, outcome="accepted", within=within
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: what it shows, how it is played, and the status it must end with."""

    name: str
    title: str
    shows: str
    play: Callable[[Play], Awaitable[None]]
    status: Literal["OK", "KO"]


async def _approved(play: Play) -> None:
    asked = await play.ask(GRANT)
    ticket = await play.ticket(asked)
    await play.looked_at(ticket)
    await play.decide(ticket, "approved", "fine")
    await play.seen(play.stage.desk, "event", ticket=ticket, answer=202)
    await play.told(asked)


async def _rejected(play: Play) -> None:
    asked = await play.ask(GRANT)
    ticket = await play.ticket(asked)
    await play.stage.desk.switch_on("event", "lose", times=None, subject=ticket)
    await play.looked_at(ticket)
    await play.decide(ticket, "rejected", "ask your team lead first")
    await play.told(asked)


async def _revoked(play: Play) -> None:
    asked = await play.ask(REVOKE)
    ticket = await play.ticket(asked)
    await play.looked_at(ticket)
    await play.decide(ticket, "approved", "access is no longer needed")
    await play.told(asked)


async def _desk_down(play: Play) -> None:
    play.timeline.note("desk", f"goes down for {_OUTAGE} s: its port is closed")
    await play.stage.desk.go_down(_OUTAGE)
    asked = await play.ask(GRANT)
    reason = await play.stage.reason(asked.correlation_id, within=_SOON)
    play.timeline.note("proxy", f"says of the request: {reason}")
    await play.timeline.catch_up()
    await play.seen(play.stage.desk, "up")
    ticket = await play.ticket(asked)
    await play.looked_at(ticket)
    await play.decide(ticket, "approved", "fine, and sorry for the wait")
    await play.told(asked)


async def _killed(play: Play) -> None:
    stage = play.stage
    await stage.desk.switch_on("create", "hang", after_effect=True)
    asked = await play.ask(GRANT)
    ticket = await play.ticket(asked)
    await stage.kill_proxy()
    play.timeline.note("proxy", "is killed (SIGKILL) before it learns of the ticket")
    await stage.desk.switch_off()
    await play.decide(ticket, "approved", "fine")
    await play.seen(stage.desk, "event", ticket=ticket, answer=None)
    play.timeline.note("proxy", "starts again")
    await stage.start_proxy()
    play.timeline.note("proxy", f"is ready: process {stage.children['proxy'].pid}")
    find = {"correlation_id": asked.correlation_id, "found": 1}
    await play.seen(stage.desk, "find", within=_LATER, **find)
    await play.told(asked, within=_LATER)


SCENES: Final = (
    Scene(
        "approved",
        "Approved, told by an event",
        "The desk pushes a signed event, a mere hint; the proxy reads the ticket and calls back.",
        _approved,
        "OK",
    ),
    Scene(
        "rejected",
        "Rejected, found by polling",
        "The event is lost on its way; the proxy reads the ticket anyway and finds the decision.",
        _rejected,
        "KO",
    ),
    Scene(
        "revoke",
        "A revoke",
        "Access is taken away by the same path: a ticket of its own, a status of its own.",
        _revoked,
        "OK",
    ),
    Scene(
        "desk down",
        "The desk is down",
        "The hook call is accepted all the same; the ticket is opened when the desk is back.",
        _desk_down,
        "OK",
    ),
    Scene(
        "killed",
        "Killed after the desk created a ticket",
        "The answer of the desk is lost with the proxy. Started again, it finds that ticket.",
        _killed,
        "OK",
    ),
)
