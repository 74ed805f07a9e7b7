"""Kill the program at every I/O step of a request's life, restart it, and judge what came of it.

The desk and witboost live in the test's process and the store in a server of its own: only the
program dies. Time passes only while nothing is under way, so a lease of a minute costs no time. The
verdict is drawn from the journals of desk and witboost.
"""

import secrets
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from redis.asyncio import Redis

from proxy.demo.credentials import ServiceAccount
from proxy.demo.desk import Desk
from proxy.demo.faults import Fault
from proxy.demo.server import Simulator
from proxy.demo.verdict import judge
from proxy.demo.witboost import HOOKS, Witboost
from proxy.store.redis import RedisStore
from tests.faults.nursery import Child, Died, Kill, Nursery
from tests.faults.shared_clock import SharedClock
from tests.invariants import check_store
from tests.rig import API_KEY, CLIENT_SECRET, EVENT_SECRET, GRANT, settings_tree
from tests.waiting import wait_until

TURNS: Final = 60
ACCESS_TOKEN: Final = "wbat-for-tests"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One request's life: what goes wrong besides the crash, and what the desk decides."""

    decision: str
    status: str
    at_desk: Sequence[Fault] = ()
    at_witboost: Sequence[Fault] = ()


SMOOTH: Final = Scenario("approved", "OK")
ROUGH: Final = Scenario(
    "rejected",
    "KO",
    at_desk=(
        Fault("create", "reset", after_effect=True),
        Fault("find", "answer", status=503),
        Fault("read", "expire"),
        Fault("event", "lose", times=None),
    ),
    at_witboost=(Fault("callback", "reset", after_effect=True),),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one life: where it was killed, what is wrong, the steps of the last child.

    `tickets` counts those that the desk had at the first death.
    """

    kills: Sequence[Kill]
    died_at: Sequence[str]
    problems: Sequence[str]
    steps: Sequence[str]
    tickets: int


@dataclass(slots=True)
class Life:
    """One request between two simulators of its own; one child after another meets its kill."""

    nursery: Nursery
    scenario: Scenario
    kills: Sequence[Kill]
    without: str
    desk: Desk
    witboost: Witboost
    folder: Path
    child: Child | None = None
    died_at: list[str] = field(default_factory=list)
    steps: Sequence[str] = ()
    tickets: int = 0

    async def play(self) -> None:
        """Ask, let work, decide, until the program is at rest."""
        respond_to = f"{self.witboost.url}{HOOKS}/{secrets.token_hex(8)}"
        while not await self._asked(respond_to):
            pass
        for _ in range(TURNS):
            rests = await self._worked()
            if not await self._decided() and rests:
                return
        raise AssertionError(f"not at rest: {self.kills}, died at {self.died_at}")

    async def _asked(self, respond_to: str) -> bool:
        """Send the hook call, again and again as a person at witboost does."""
        try:
            child = await self._alive()
            try:
                call = await self.witboost.ask(dict(GRANT), respond_to=respond_to)
            except aiohttp.ClientError:
                await child.hear()
                raise
        except Died as death:
            await self._bury(death)
            return False
        assert call.status == 202, call
        return True

    async def _worked(self) -> bool:
        """Let the program do what is due; True if it rests then."""
        try:
            said = await (await self._alive()).work()
        except Died as death:
            await self._bury(death)
            return False
        self.steps = said["steps"]
        return bool(said["rests"])

    async def _decided(self) -> bool:
        """Decide the ticket once it was read, and let the event arrive."""
        new = [ticket for ticket in self.desk.tickets.all() if ticket["status"] == "new"]
        if not new or not self.desk.journal.of("read"):
            return False
        self.desk.decide(new[0]["id"], self.scenario.decision)
        await self.desk.events_sent()
        return True

    async def _alive(self) -> Child:
        """Return the child, a new one after a death."""
        if self.child is None:
            deaths = len(self.died_at)
            kill = self.kills[deaths] if deaths < len(self.kills) else None
            settings, clock = self.folder / "settings.yaml", self.folder / "clock"
            self.child = await self.nursery.fork(settings, clock, kill, self.without)
            url = f"http://127.0.0.1:{(await self.child.hear())['port']}"
            self.witboost.hook_url = f"{url}/approval-requests"
            self.desk.events.target = f"{url}/ticket-events/desk"
        return self.child

    async def _bury(self, death: Died) -> None:
        """Note the death once all that the dead one sent has had its effect."""
        self.child = None
        self.died_at.append(str(death))
        for simulator in (self.desk, self.witboost):
            connections = _Connections(simulator)
            await wait_until(connections.ended, what="connections of the dead end")
        if len(self.died_at) == 1:
            self.tickets = len(self.desk.tickets.all())


@dataclass(frozen=True, slots=True)
class _Connections:
    simulator: Simulator

    def ended(self) -> bool:
        runner = self.simulator._runner
        assert runner is not None
        assert runner.server is not None
        return not runner.server.connections


async def live(
    nursery: Nursery,
    redis_url: str,
    scenario: Scenario,
    kills: Sequence[Kill] = (),
    *,
    without: str = "",
) -> Outcome:
    """Play one life, killed at these points, perhaps without one mechanism, and judge it."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ap-")))
        clock = SharedClock(folder / "clock")
        stack.callback(clock.close)
        desk = Desk(
            client_id="proxy", client_secret=CLIENT_SECRET, event_secret=EVENT_SECRET, clock=clock
        )
        account = ServiceAccount(ACCESS_TOKEN, clock)
        witboost = Witboost(api_key=API_KEY, check=account, adopt_unknown_hooks=True, clock=clock)
        await stack.enter_async_context(desk)
        await stack.enter_async_context(witboost)
        _ = [desk.switch_on(fault) for fault in scenario.at_desk]
        _ = [witboost.switch_on(fault) for fault in scenario.at_witboost]
        tree = settings_tree(
            desk=desk.url, witboost=witboost.url, redis_url=redis_url, folder=folder
        )
        tree["witboost"]["main"]["credential"] = {
            "kind": "access_token",
            "url": witboost.url,
            "access_token": ACCESS_TOKEN,
        }
        (folder / "settings.yaml").write_bytes(orjson.dumps(tree))
        life = Life(nursery, scenario, kills, without, desk, witboost, folder)
        try:
            await life.play()
        finally:
            if life.child is not None:
                await life.child.close()
        problems = _problems(life)
        await _check_and_drop(redis_url, tree["store"])
        return Outcome(kills, life.died_at, problems, life.steps, life.tickets)


def _problems(life: Life) -> list[str]:
    verdict = judge(life.desk.journal.entries, life.witboost.journal.entries)
    problems = list(verdict.problems)
    statuses = [row.status for row in verdict.rows]
    if statuses != [life.scenario.status]:
        problems.append(f"{statuses} instead of [{life.scenario.status}]")
    return problems


async def _check_and_drop(redis_url: str, store: dict[str, Any]) -> None:
    """Compare the indices with the records, then remove this life's keys."""
    async with Redis.from_url(redis_url) as client:
        kept = RedisStore(client, namespace=store["namespace"], partitions=store["partitions"])
        await check_store(kept)
        names = [name async for name in client.scan_iter(match=f"*{store['namespace']}*")]
        await client.unlink(*names)
        await kept.batcher.close()
