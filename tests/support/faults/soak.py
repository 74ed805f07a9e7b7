"""The chaos soak: `python -m tests.support.faults.soak` (`make soak`).

Three workers and two web processes, killed and frozen at random; a Redis server killed and started
again; of all replies that the program waits for, one in twenty is dropped, and ticket system and
witboost have faults of their own. Ends when every request has its final status, judges by the
journals, and prints what was seen.
"""

import argparse
import asyncio
import contextlib
import random
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import aiohttp
import uvloop
import yaml

from proxy.demo.verdict import Row, judge
from proxy.domain.models import State
from proxy.simulators.desk.server import Desk
from proxy.simulators.faults import Fault
from proxy.simulators.journal import Entry
from proxy.simulators.witboost import HOOKS, Witboost
from proxy.store.client.connections import connect
from proxy.store.requests import RequestStore
from tests.support.faults import fault_proxy
from tests.support.faults.evidence import Freeze, Terms, is_declared, read_logs
from tests.support.faults.fault_proxy import FaultProxy
from tests.support.faults.fleet import Fleet, Member, RestartedServer
from tests.support.faults.many import AT_DESK, AT_WITBOOST
from tests.support.invariants import check_store
from tests.support.rig import API_KEY, CLIENT_SECRET, EVENT_SECRET, GRANT, desk_tree, settings_tree

WORKERS: Final = 3
WEBS: Final = 2
DROPPED: Final = 0.05
TERMS: Final = Terms(lease=5_000, settle=1_000, deadline=2_000)
PAUSE: Final = (0.5, 3.0)
"""Seconds between two incidents."""
LAG: Final = 0.8
"""Seconds for which the desk's index hides a new ticket: no longer than the settle time says."""
MOST: Final = 0.9
"""The share of requests that are final before peace returns."""
AT_ONCE: Final = 40
ACCEPTED: Final = 202
SAMPLE: Final = 20
NAMESPACE: Final = "soak"
PARTITIONS: Final = 8
PATIENCE: Final = 1_800.0
"""Seconds for everything."""


@dataclass
class Figures:
    """What became of the requests, from the journals of desk and witboost alone."""

    seed: int
    requests: int
    problems: list[str] = field(default_factory=list)
    incidents: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, int] = field(default_factory=dict)
    statuses: Counter[str | None] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    declared: int = 0
    wrong: int = 0
    seconds: float = 0.0
    recovery: float = 0.0
    after_restarts: list[float] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every request has one ticket and the right status."""
        return not (self.problems or self.lost or self.doubled or self.wrong)

    def lines(self) -> list[str]:
        """Return the figures as text."""
        slowest = max(self.after_restarts, default=0.0)
        return [
            f"seed {self.seed}: {self.requests} requests in {self.seconds:.0f} s",
            f"incidents: {_told(self.incidents)}; replies dropped: {_told(self.dropped)}",
            f"{self.lost} lost, {self.doubled} doubled tickets, {self.wrong} wrong statuses",
            f"{self.declared} times the declared exception; statuses {dict(self.statuses)}",
            f"all final {self.recovery:.1f} s after the last incident",
            f"a restart of Redis held up callbacks for {slowest:.1f} s at most",
            *self.problems[:20],
        ]


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


@dataclass
class Soak:
    """One run: the world around the program, and what happens to it."""

    seed: int
    folder: Path
    figures: Figures
    dice: random.Random
    stack: AsyncExitStack
    lag: float
    freezes: list[Freeze] = field(default_factory=list)
    hooks: set[str] = field(default_factory=set)
    finals: int = 0
    ended_at: float = 0.0

    async def play(self) -> None:
        """Open everything, ask for all, let things go wrong meanwhile, and wait for the end."""
        await self._open()
        began = time.monotonic()
        watching = asyncio.create_task(self._watch())
        asked = asyncio.create_task(self._ask_all())
        try:
            await self._incidents()
            await asked
            await self._all_final()
            self.figures.recovery = time.monotonic() - self.ended_at
            self.figures.seconds = time.monotonic() - began
        finally:
            for task in (watching, asked):
                task.cancel()
            await asyncio.gather(watching, asked, return_exceptions=True)
        await self.fleet.stop()
        await check_store(self.store)
        self._judge()

    # -- the world -----------------------------------------------------------------------------

    async def _open(self) -> None:
        opened = self.stack.enter_async_context
        self.proxies = {
            name: await opened(FaultProxy("tcp://127.0.0.1:1", seed=self.seed + number))
            for number, name in enumerate(("redis", "desk", "witboost"))
        }
        self.redis = await opened(RestartedServer(self.folder / "redis", self.proxies["redis"]))
        self.desk = await opened(
            Desk(
                client_id="proxy",
                client_secret=CLIENT_SECRET,
                event_secret=EVENT_SECRET,
                public_url=_http(self.proxies["desk"]),
                seed=self.seed,
            )
        )
        self.witboost = await opened(
            Witboost(
                api_key=API_KEY,
                adopt_unknown_hooks=True,
                public_url=_http(self.proxies["witboost"]),
                seed=self.seed,
            )
        )
        _ = [self.desk.switch_on(fault) for fault in _at_desk(self.lag)]
        _ = [self.witboost.switch_on(fault) for fault in AT_WITBOOST]
        ports = free_ports(WORKERS + WEBS)
        self.fleet = await opened(Fleet(self._settings(), ports=ports, workers=WORKERS))
        self.desk.events.target = f"{self.fleet.webs[0].url}/ticket-events/desk"
        for proxy in self.proxies.values():
            proxy.switch_on(fault_proxy.Fault("drop", times=None, probability=DROPPED))

    def _settings(self) -> Path:
        self.proxies["desk"].point_at(f"tcp://127.0.0.1:{self.desk._port}")
        self.proxies["witboost"].point_at(f"tcp://127.0.0.1:{self.witboost._port}")
        tree = settings_tree(
            desk=self.desk.url,
            witboost=self.witboost.url,
            redis_url=_http(self.proxies["redis"]).replace("http", "redis"),
            folder=self.folder,
            # without processes of its own, so that who is killed or frozen is who works
            worker={"processes": 0, "lease": "5s", "margin": "1s", "concurrency": 64},
            logs={"access": False},
        )
        tree["store"] |= {"namespace": NAMESPACE, "partitions": PARTITIONS}
        tree["witboost"]["main"]["callback"] = {"deadline": "2s"}
        desk = {**desk_tree(self.desk.url), "concurrency": 64, "deadline": "2s", "settle": "1s"}
        tree["ticket_systems"] = {"desk": desk}
        tree["routes"][0]["poll"] = {"first": "500ms", "slowest": "4s"}
        file = self.folder / "settings.yaml"
        file.write_text(yaml.safe_dump(tree))
        return file

    @property
    def store(self) -> RequestStore:
        """The store, beside all faults."""
        client = connect(self.redis.url)
        self.stack.push_async_callback(client.aclose)
        return RequestStore(client, namespace=NAMESPACE, partitions=PARTITIONS)

    # -- people --------------------------------------------------------------------------------

    async def _ask_all(self) -> None:
        numbers = iter(range(self.figures.requests))

        async def lane() -> None:
            for _ in numbers:
                await self._ask()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(lane())

    async def _ask(self) -> None:
        """Send a hook call until it is accepted, as a person at witboost does."""
        hook_id = f"{len(self.hooks):08}-{secrets.token_hex(4)}"
        self.hooks.add(hook_id)
        respond_to = f"{self.witboost.url}{HOOKS}/{hook_id}"
        fields = {**GRANT, "verb": self.dice.choice(("grant", "revoke"))}
        while True:
            self.witboost.hook_url = f"{self.dice.choice(self.fleet.webs).url}/approval-requests"
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                call = await self.witboost.ask(dict(fields), respond_to=respond_to)
                if call.status == ACCEPTED:
                    return
                assert call.status >= 429, call  # come again later
            await asyncio.sleep(0.3)

    async def _watch(self) -> None:
        """Decide each ticket some time after it was opened; of one request, all the same way."""
        loop, desk, witboost = asyncio.get_running_loop(), 0, 0
        while True:
            for entry in self.desk.journal.entries[desk:]:
                if entry["kind"] == "created":
                    choice = random.Random(f"{self.seed} {entry['correlation_id']}").choice(
                        ("approved", "rejected", "cancelled")
                    )
                    pause = self.dice.uniform(0.1, 2.0)
                    loop.call_later(pause, self.desk.decide, entry["ticket"], choice)
                desk += 1
            for entry in self.witboost.journal.entries[witboost:]:
                self.finals += entry.get("outcome") == "accepted"
                witboost += 1
            await asyncio.sleep(0.1)

    # -- incidents -----------------------------------------------------------------------------

    async def _incidents(self) -> None:
        """Let one thing after another go wrong until most are final; each kind at least once."""
        kinds = {
            "worker killed": lambda: self._kill(self._workers),
            "web killed": lambda: self._kill(self.fleet.webs),
            "frozen": self._freeze,
            "redis restarted": self.redis.restart,
        }
        first = list(kinds)
        self.dice.shuffle(first)
        freezing: set[asyncio.Task[None]] = set()
        while first or self.finals < MOST * self.figures.requests:
            kind = first.pop() if first else self.dice.choice(list(kinds))
            self.figures.incidents[kind] += 1
            if kind == "frozen":
                freezing.add(asyncio.create_task(kinds[kind]()))
            else:
                await kinds[kind]()
            await asyncio.sleep(self.dice.uniform(*PAUSE))
        await asyncio.gather(*freezing)
        self.ended_at = time.monotonic()

    @property
    def _workers(self) -> Sequence[Member]:
        return [it for name, it in self.fleet.members.items() if name.startswith("worker")]

    async def _kill(self, members: Sequence[Member]) -> None:
        """Kill one; nothing else goes wrong until it works again, or slow machines had no peace."""
        member = self.dice.choice(members)
        await member.kill()
        await member.ready()

    async def _freeze(self) -> None:
        seconds = (TERMS.lease + TERMS.settle) / 1_000 + self.dice.uniform(0.5, 2.0)
        self.freezes.append(await self.dice.choice(self._workers).freeze(seconds))

    async def _all_final(self) -> None:
        """Return when the store has no open request left and every ticket was decided."""
        store, until = self.store, time.monotonic() + PATIENCE
        while True:
            counts = await store.counts()
            if sum(counts.values()) == counts[State.DONE] == len(self.hooks):
                return
            if time.monotonic() > until:
                states = [state for state in State if state is not State.DONE]
                left = [await store.load(it) for it in await store.list_ids(states, limit=10)]
                raise AssertionError(f"not final: {counts}, such as {left}")
            await asyncio.sleep(0.5)

    # -- the verdict ---------------------------------------------------------------------------

    def _judge(self) -> None:
        desk, witboost = self.desk.journal.entries, self.witboost.journal.entries
        verdict, figures = judge(desk, witboost), self.figures
        doubled = [row for row in verdict.rows if len(row.tickets) > 1]
        declared = [row for row in doubled if self._is_declared(row, desk)]
        excused = tuple(f"request {row.correlation_id}: {len(row.tickets)} t" for row in declared)
        figures.problems += [it for it in verdict.problems if not it.startswith(excused or ("-",))]
        told = {it["hook"] for it in witboost if it["kind"] == "callback"}
        figures.problems += [f"called back at {hook}" for hook in told - self.hooks]
        figures.doubled = len(doubled) - len(declared)
        figures.declared = len(declared)
        figures.lost = len(self.hooks) - sum(bool(it.tickets and it.status) for it in verdict.rows)
        figures.wrong = sum(row.status != _wanted(row) for row in verdict.rows)
        if not any(self._intent_is_told(row) for row in verdict.rows[:SAMPLE]):
            figures.problems.append("no log tells an intent: evidence would not be found")
        figures.statuses = Counter(row.status for row in verdict.rows)
        for name, proxy in self.proxies.items():
            figures.dropped[name] = sum(fault.struck for fault in proxy.faults)
        figures.after_restarts = [_next_callback(witboost, at) for at in self.redis.restarts]

    def _is_declared(self, row: Row, desk: Sequence[Entry]) -> bool:
        created = [
            it["at"]
            for it in desk
            if it["kind"] == "created" and it["correlation_id"] == row.correlation_id
        ]
        logs = read_logs(self.fleet.logs, row.correlation_id)
        return is_declared(created, logs, self.freezes, TERMS)

    def _intent_is_told(self, row: Row) -> bool:
        logs = read_logs(self.fleet.logs, row.correlation_id)
        return any(line.intent for said in logs.values() for line in said)


def _wanted(row: Row) -> str:
    return "OK" if row.decision == "approved" else "KO"


def _next_callback(witboost: Sequence[Entry], moment: int) -> float:
    """Return the seconds from a moment to the next callback that arrived; 0 if there was none."""
    after = (it["at"] for it in witboost if it["kind"] == "callback" and it["at"] > moment)
    return (next(after, moment) - moment) / 1_000


def _at_desk(lag: float) -> Iterator[Fault]:
    """Yield what goes wrong at the desk, its index lagging so many seconds."""
    for fault in AT_DESK:
        yield replace(fault, seconds=lag) if fault.kind == "lag" else fault


def _http(proxy: FaultProxy) -> str:
    return proxy.url.replace("tcp", "http")


def free_ports(count: int) -> list[int]:
    """Return ports that are free now; they stay the same over all restarts."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


async def soak(count: int, seed: int, *, lag: float = LAG) -> Figures:
    """Play so many requests and return what became of them; `lag` as in `LAG`."""
    figures = Figures(seed, count)
    with tempfile.TemporaryDirectory(prefix="ap-", ignore_cleanup_errors=True) as folder:
        async with AsyncExitStack() as stack:
            await Soak(seed, Path(folder), figures, random.Random(seed), stack, lag).play()
    return figures


def main() -> int:
    """Read the arguments, soak, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    help_ = f"seconds for which the index hides a new ticket ({LAG}); above the settle time of 1 s"
    parser.add_argument("--lag", type=float, default=LAG, help=f"{help_}, tickets must double")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)  # noqa: T201 - also of a run that never ends
    figures = uvloop.run(soak(arguments.requests, arguments.seed, lag=arguments.lag))
    print("\n".join(figures.lines()))  # noqa: T201 - the point of the script
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
