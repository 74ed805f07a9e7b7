"""Many requests through the whole path while everything around it fails now and then."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.demo.verdict import Row, judge
from proxy.domain.models import State
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import HookCall
from tests.support.rig import GRANT, Rig, desk_tree

SECOND: Final = 1_000
LATEST: Final = 400
"""Rounds of half a minute after the last hook call."""

AT_DESK: Final = (
    Fault("token", "answer", times=None, probability=0.02),
    Fault("create", "reset", times=None, probability=0.03),
    Fault("create", "reset", times=None, probability=0.05, after_effect=True),
    Fault("create", "answer", times=None, probability=0.03, after_effect=True),
    Fault("create", "answer", times=None, probability=0.03, status=503),
    Fault("create", "answer", times=None, probability=0.05, status=429, retry_after="7"),
    Fault("find", "lag", times=None, seconds=3),
    Fault("find", "answer", times=None, probability=0.1),
    Fault("read", "stale", times=None, probability=0.1),
    Fault("read", "answer", times=None, probability=0.05),
    Fault("read", "reset", times=None, probability=0.01),
    Fault("read", "expire", times=None, probability=0.001),
    Fault("event", "lose", times=None, probability=0.3),
    Fault("event", "duplicate", times=None, probability=0.3),
)
AT_WITBOOST: Final = (
    Fault("callback", "reset", times=None, probability=0.04),
    Fault("callback", "reset", times=None, probability=0.04, after_effect=True),
    Fault("callback", "answer", times=None, probability=0.05),
    Fault("callback", "answer", times=None, probability=0.04, status=503, after_effect=True),
)
ROOM: Final[Mapping[str, Any]] = {"concurrency": 256, "lease": "60s"}


def roomy_desk(url: str) -> dict[str, Any]:
    """Return the desk's declaration with room for many calls at once."""
    return {**desk_tree(url), "concurrency": 64, "deadline": "20s"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of many requests, from the journals of desk and witboost alone."""

    seed: int
    requests: int
    lost: int
    duplicates: int
    wrong: int
    problems: Sequence[str]
    attempts: int
    faults: Mapping[str, int]
    statuses: Mapping[str | None, int]
    aside: Sequence[str]
    seconds: float

    def lines(self) -> list[str]:
        """Return the figures as text."""
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return [
            f"seed {self.seed}: {self.requests} requests in {self.seconds:.0f} s",
            f"{self.lost} lost, {self.duplicates} duplicate tickets, {self.wrong} wrong statuses",
            f"statuses {dict(self.statuses)}, callback attempts {self.attempts}",
            f"faults: {faults}",
            *self.problems[:20],
            *self.aside[:20],
        ]


@dataclass(slots=True)
class Crowd:
    """The requests of one run, and the people who decide them in their own time."""

    rig: Rig
    seed: int
    dice: random.Random = field(init=False)
    undecided: dict[str, None] = field(default_factory=dict)
    _seen: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    async def play(self, count: int, *, at_once: int = 250) -> Figures:
        """Ask for so many, let all be decided, and judge."""
        began = time.monotonic()
        for fault in AT_DESK:
            self.rig.desk.switch_on(fault)
        for fault in AT_WITBOOST:
            self.rig.witboost.switch_on(fault)
        for start in range(0, count, at_once):
            await asyncio.gather(*[self._ask() for _ in range(min(at_once, count - start))])
            for pause in (0, 2 * SECOND, 10 * SECOND):
                await self._round(pause)
        for _ in range(LATEST):
            if await self._rests():
                break
            await self._round(30 * SECOND)
        return self._figures(count, await self._aside(), time.monotonic() - began)

    async def _ask(self) -> None:
        """Send a hook call, now and then twice as witboost does when it is impatient."""
        verb = self.dice.choice(("grant", "revoke"))
        call = await self.rig.ask({**GRANT, "verb": verb})
        if self.dice.random() < 0.05:
            again: HookCall = await self.rig.ask(
                {**GRANT, "verb": verb}, respond_to=call.respond_to
            )
            assert again.correlation_id == call.correlation_id

    async def _round(self, pause: int) -> None:
        await self.rig.work(after=pause)
        journal = self.rig.desk.journal.entries
        for entry in journal[self._seen :]:
            if entry["kind"] == "created":
                self.undecided[entry["ticket"]] = None
        self._seen = len(journal)
        for ticket in [it for it in self.undecided if self.dice.random() < 0.6]:
            del self.undecided[ticket]
            self.rig.desk.decide(ticket, self.dice.choice(("approved", "rejected", "cancelled")))
        await self.rig.desk.events_sent()

    async def _rests(self) -> bool:
        return not self.undecided and not await self.rig.program.store.open_counts()

    async def _aside(self) -> list[str]:
        """Return what the store says of requests that are not done: a clue, not the verdict."""
        store = self.rig.program.store
        states = [state for state in State if state is not State.DONE]
        return [
            f"{found}: {await store.history(found)}"
            for found in await store.list_ids(states, limit=20)
        ]

    def _figures(self, count: int, aside: Sequence[str], seconds: float) -> Figures:
        desk, witboost = self.rig.desk.journal.entries, self.rig.witboost.journal.entries
        verdict = judge(desk, witboost)
        rows = verdict.rows
        return Figures(
            seed=self.seed,
            requests=len(rows),
            lost=count - sum(bool(row.tickets and row.status) for row in rows),
            duplicates=sum(max(0, len(row.tickets) - 1) for row in rows),
            wrong=sum(row.status != _wanted(row) for row in rows),
            problems=verdict.problems,
            attempts=sum(row.attempts for row in rows),
            faults=Counter(
                f"{entry['operation']} {entry['fault']}{' after' * entry['after_effect']}"
                for entry in (*desk, *witboost)
                if entry["kind"] == "fault"
            ),
            statuses=Counter(row.status for row in rows),
            aside=aside,
            seconds=seconds,
        )


def _wanted(row: Row) -> str:
    return "OK" if row.decision == "approved" else "KO"
