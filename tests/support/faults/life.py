"""One request's life: a program that crashes, the simulators around it, the people who act.

The people do what their flow says whenever they see what they wait for, whatever has crashed.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from proxy.simulators.server import Simulator
from proxy.simulators.witboost import HOOKS, HookCall, Witboost
from proxy.store.requests import RequestStore
from tests.support.faults.flows import FLOWS, Decides, Flow, Operates
from tests.support.faults.io_steps import Crash
from tests.support.faults.nursery import Child, Ended, Nursery
from tests.support.faults.ticket_systems import Site
from tests.support.invariants import check_store
from tests.support.rig import GRANT, OPERATOR_KEY
from tests.support.waiting import wait_until

TURNS: Final = 80
OK: Final = 200
ACCEPTED: Final = 202

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Play:
    """A flow on a kind of ticket system, by their names, perhaps without one mechanism."""

    flow: str = "grant"
    system: str = "rest"
    without: str = ""


@dataclass(slots=True)
class Life:
    """One request between two simulators of its own; one child after another meets its crash."""

    nursery: Nursery
    play: Play
    crashes: Sequence[Crash]
    site: Site
    witboost: Witboost
    folder: Path
    store: RequestStore
    child: Child | None = None
    frozen: list[Child] = field(default_factory=list)
    url: str = ""
    correlation_id: str = ""
    hook_id: str = field(default_factory=lambda: secrets.token_hex(8))
    ended_at: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    operated: set[str] = field(default_factory=set)
    steps: Sequence[str] = ()
    tickets: int = 0

    @property
    def flow(self) -> Flow:
        """What is played."""
        return FLOWS[self.play.flow]

    async def live(self) -> None:
        """Ask, let work, let people act, until nobody has anything to do; then thaw the frozen."""
        while not await self._asked():
            pass
        await self._to_rest()
        for child in self.frozen:
            child.thaw()
            await child.work()
            await child.close()
        if self.frozen:
            await self._to_rest()

    async def close(self) -> None:
        """Let the last child end, and the frozen, where something went wrong before they thawed."""
        for child in self.frozen:
            child.abandon()
        if self.child is not None:
            await self.child.close()

    async def _to_rest(self) -> None:
        for _ in range(TURNS):
            rests = await self._worked()
            if not await self._people_acted() and rests:
                return
        raise AssertionError(f"not at rest: {self.play}, {self.crashes}, at {self.ended_at}")

    async def _asked(self) -> bool:
        """Send the hook call, again and again as a person at witboost does."""
        respond_to = f"{self.witboost.url}{HOOKS}/{self.hook_id}"
        fields = {**GRANT, **self.flow.fields}
        try:
            await self._alive()
            call: HookCall = await self._with_child(
                self.witboost.ask(fields, respond_to=respond_to)
            )
            await self._unless_ending(call.status == ACCEPTED, call)
        except Ended as end:
            await self._bury(end)
            return False
        assert call.correlation_id is not None
        self.correlation_id = call.correlation_id
        return True

    async def _worked(self) -> bool:
        """Let the program do what is due; True if it rests then."""
        try:
            said = await (await self._alive()).work()
        except Ended as end:
            await self._bury(end)
            return False
        self.steps = said["steps"]
        return bool(said["rests"])

    async def _people_acted(self) -> bool:
        """Let everybody look who waits for something; True if anything happened."""
        acted = False
        try:
            await self._alive()
            for act in self.flow.people:
                if isinstance(act, Decides):
                    acted |= self._decided(act)
                else:
                    acted |= await self._operated(act)
            await self._with_child(self.site.events_sent())
        except Ended as end:
            await self._bury(end)
            return True
        return acted

    def _decided(self, act: Decides) -> bool:
        found = [it for it, status in self.site.tickets().items() if status == act.seeing]
        for ticket in found:
            self._expect_no_status(f"{act.status} at the ticket system")
            self.site.decide(ticket, act.status, act.by)
        return bool(found)

    async def _operated(self, act: Operates) -> bool:
        place = f"/api/requests/{self.correlation_id}"
        shown = await self._operator("GET", place)
        if shown["status"] != act.seeing:
            return False
        self._expect_no_status(act.action)
        self.operated.add(act.action)
        await self._operator("POST", f"{place}/{act.action}")
        return True

    def _expect_no_status(self, act: str) -> None:
        """Nothing final may have been said before those had their say who decide."""
        told = [it for it in self.witboost.journal.of("callback") if it.get("status")]
        if told and not self.frozen:
            self.problems.append(f"told {told[0]['status']} before: {act}")

    async def _operator(self, method: str, path: str) -> Any:
        async def call() -> tuple[int, Any]:
            async with (
                aiohttp.ClientSession() as session,
                session.request(
                    method,
                    f"{self.url}{path}",
                    headers={"X-API-Key": OPERATOR_KEY},
                    json={"reason": "seen by hand"} if method == "POST" else None,
                ) as answer,
            ):
                return answer.status, await answer.json(content_type=None)

        status, said = await self._with_child(call())
        await self._unless_ending(status == OK, said)
        return said

    async def _with_child(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """Await a call to the child, which may end or freeze meanwhile."""
        assert self.child is not None
        calling, hearing = asyncio.create_task(call), asyncio.create_task(self.child.hear())
        await asyncio.wait([calling, hearing], return_when=asyncio.FIRST_COMPLETED)
        if calling.done() and calling.exception() is None:
            hearing.cancel()
        else:
            await asyncio.wait([hearing])
            calling.cancel()
        _, heard = await asyncio.gather(calling, hearing, return_exceptions=True)
        if isinstance(heard, Exception):
            raise heard
        return calling.result()

    async def _unless_ending(self, fine: bool, said: object) -> None:  # noqa: FBT001 - a condition
        """Expect a good answer; a child that is being stopped may give another one."""
        if not fine:
            assert self.child is not None
            await self.child.hear()
            raise AssertionError(said)

    async def _alive(self) -> Child:
        """Return the child, a new one after an end."""
        if self.child is None:
            ends = len(self.ended_at)
            crash = self.crashes[ends] if ends < len(self.crashes) else None
            settings, clock = self.folder / "settings.yaml", self.folder / "clock"
            self.child = await self.nursery.fork(settings, clock, crash, self.play.without)
            self.url = f"http://127.0.0.1:{(await self.child.hear())['port']}"
            self.witboost.hook_url = f"{self.url}/approval-requests"
            self.site.send_events_to(f"{self.url}/ticket-events/desk")
        return self.child

    async def _bury(self, end: Ended) -> None:
        """Note the end once all that was sent before has had its effect."""
        assert self.child is not None
        manner = self.crashes[len(self.ended_at)].manner
        self.ended_at.append(str(end))
        if manner == "freeze":
            self.frozen.append(self.child)
        else:
            await self.child.close()
            for simulator in () if self.frozen else (self.site.simulator, self.witboost):
                await wait_until(_Connections(simulator).ended, what="the dead are cut off")
        self.child = None
        if len(self.ended_at) == 1:
            self.tickets = len(self.site.simulator.journal.of("created"))
        if not self.play.without:
            await check_store(self.store)


@dataclass(frozen=True, slots=True)
class _Connections:
    simulator: Simulator

    def ended(self) -> bool:
        runner = self.simulator._runner
        assert runner is not None
        assert runner.server is not None
        return not runner.server.connections
