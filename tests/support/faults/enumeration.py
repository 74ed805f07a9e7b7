"""Every crash point of every flow, which `make crash-points` runs.

A Redis server of its own, some lanes of lives side by side, and a table at the end. The steps are
found by playing: a new one is covered as soon as it exists.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.support.faults.crash_points import Outcome, live
from tests.support.faults.flows import FLOWS
from tests.support.faults.io_steps import MANNERS, MOMENTS, Crash, Manner, Moment
from tests.support.faults.life import Play
from tests.support.faults.nursery import Nursery
from tests.support.faults.ticket_systems import SITES
from tests.support.servers import start_server

LANES: Final = 2
MOST_LANES: Final = 6
"""A life waits more than it works: 300 took 75 s in two lanes, 42 in four, 36 in six (2 cores)."""
PAIRS: Final = 200
START: Final = "admit"
"""The first step of a request; what comes before is the start of the program."""

Drawn = tuple[Play, Sequence[Crash]]


def moments(manner: Manner) -> tuple[Moment, ...]:
    """Return the moments at which a manner makes a difference: what freezes has its timers run."""
    return ("sending", "after") if manner == "freeze" else MOMENTS


async def points(
    redis_url: str, play: Play, moment: Moment, manner: Manner = "kill", *, started: bool = True
) -> list[Outcome]:
    """Return what comes of a crash at each step, until there is none left.

    `started` leaves out the start of the program, in which only a kill makes a difference.
    """
    async with Nursery() as nursery:
        first = await _start(nursery, redis_url, play) if started else 1
        ends = partial(Crash, moment=moment, manner=manner)
        return await _points(nursery, redis_url, play, ends, first, lanes=LANES)


async def _points(
    nursery: Nursery,
    redis_url: str,
    play: Play,
    ends: Callable[[int], Crash],
    first: int,
    *,
    lanes: int = 1,
) -> list[Outcome]:
    numbers = itertools.count(first)
    outcomes: list[Outcome] = []

    async def lane() -> None:
        for number in numbers:
            outcome = await live(nursery, redis_url, play, [ends(number)])
            if outcome.ended_at:
                outcomes.append(outcome)
            elif number > len(outcome.steps):
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(lanes):
            tasks.create_task(lane())
    return outcomes


async def lives(redis_url: str, drawn: Iterable[Drawn], *, lanes: int = LANES) -> list[Outcome]:
    """Return what comes of each of these lives."""
    waiting: Iterator[Drawn] = iter(drawn)
    outcomes: list[Outcome] = []

    async def lane(nursery: Nursery) -> None:
        for play, crashes in waiting:
            outcomes.append(await live(nursery, redis_url, play, crashes))

    # a lane that fails ends the other one: what that holds open would be blamed on the next test
    async with Nursery() as nursery, asyncio.TaskGroup() as tasks:
        for _ in range(lanes):
            tasks.create_task(lane(nursery))
    return outcomes


def draw(
    seed: int,
    count: int,
    *,
    ends: int = 1,
    systems: Sequence[str] = (),
    flows: Sequence[str] = (),
) -> Iterator[Drawn]:
    """Draw lives with one crash, or several one after another; over everything if not told."""
    dice = random.Random(seed)
    for _ in range(count):
        play = Play(dice.choice(list(flows or FLOWS)), dice.choice(list(systems or SITES)))
        yield play, [_drawn_crash(dice) for _ in range(ends)]


def _drawn_crash(dice: random.Random) -> Crash:
    manner = dice.choice(MANNERS)
    return Crash(dice.randint(9, 45), dice.choice(moments(manner)), manner)


def describe(outcomes: Iterable[Outcome]) -> list[str]:
    """Return one line for each life that went wrong."""
    return [
        f"{outcome.play.flow} on {outcome.play.system},"
        f" {' then '.join(map(str, outcome.crashes))} ({', '.join(outcome.ended_at)}): {problem}"
        for outcome in outcomes
        for problem in outcome.problems
    ]


async def _start(nursery: Nursery, redis_url: str, play: Play) -> int:
    """Return the number of the step that admits the request."""
    return (await live(nursery, redis_url, play)).steps.index(START) + 1


async def main(systems: Sequence[str], flows: Sequence[str], seed: int, sample: int | None) -> int:
    """Play every life or a sample, print what came of them, and return the exit status."""
    began, totals = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="ap-") as folder:
        async with await start_server(Path(folder), fsync="everysec") as server:
            async with Nursery() as nursery:
                for system, flow in () if sample else itertools.product(systems, flows):
                    totals += await _every_point(nursery, server.url, Play(flow, system))
            if sample:
                drawn = draw(seed, sample, systems=systems, flows=flows)
                played = await lives(server.url, drawn, lanes=MOST_LANES)
                totals += _report(f"drawn (seed {seed})", played)
            pairs = draw(seed, sample or PAIRS, ends=2, systems=systems, flows=flows)
            name = f"two crashes one after the other (seed {seed})"
            totals += _report(name, await lives(server.url, pairs, lanes=MOST_LANES))
    print(_told(totals), f"{time.monotonic() - began:.0f} s", sep=", ")  # noqa: T201
    return 1 if totals["wrong"] else 0


async def _every_point(nursery: Nursery, redis_url: str, play: Play) -> Counter[str]:
    """Crash at each step in each manner, each of these in a lane of its own.

    The start of the program is the same in every flow.
    """
    first = await _start(nursery, redis_url, play)
    async with asyncio.TaskGroup() as tasks:
        played = [
            tasks.create_task(
                _points(
                    nursery,
                    redis_url,
                    play,
                    partial(Crash, moment=moment, manner=manner),
                    1 if manner == "kill" and play.flow == "grant" else first,
                )
            )
            for manner in MANNERS
            for moment in moments(manner)
        ]
    outcomes = [outcome for task in played for outcome in task.result()]
    return _report(f"{play.flow} on {play.system}", outcomes)


def _report(name: str, outcomes: Sequence[Outcome]) -> Counter[str]:
    bad = describe(outcomes)
    counted = Counter(lives=len(outcomes), wrong=len(bad))
    counted["declared"] = sum(outcome.declared for outcome in outcomes)
    for outcome in outcomes:
        counted.update(crash.manner for crash in outcome.crashes[: len(outcome.ended_at)])
    print(f"{name}: {_told(counted)}", *bad, sep="\n  ", flush=True)  # noqa: T201
    return counted


def _told(counted: Mapping[str, int]) -> str:
    return (
        f"{counted['lives']} lives ({counted['kill']} killed, {counted['stop']} stopped,"
        f" {counted['freeze']} frozen), {counted['wrong']} wrong,"
        f" {counted['declared']} times the declared exception"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", action="append", choices=SITES)
    parser.add_argument("--flow", action="append", choices=FLOWS)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--sample", type=int, help="so many lives, drawn by the seed")
    asked = parser.parse_args()
    chosen = (asked.system or list(SITES), asked.flow or list(FLOWS))
    sys.exit(asyncio.run(main(*chosen, asked.seed, asked.sample)))
