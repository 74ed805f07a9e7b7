"""Every crash point of every scenario: `python -m tests.faults.enumeration` (`make crash-points`).

A Redis server of its own, two lanes of lives side by side, and a table at the end.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.faults.crash_points import ROUGH, SMOOTH, Outcome, Scenario, live
from tests.faults.io_steps import MOMENTS, Moment
from tests.faults.nursery import Kill, Nursery
from tests.servers import start_server

SCENARIOS: Final[Mapping[str, Scenario]] = {"smooth": SMOOTH, "rough": ROUGH}
LANES: Final = 2
PAIRS: Final = 60


async def enumerate_points(
    redis_url: str, scenario: Scenario, moment: Moment, *, first: int = 1, every: int = 1
) -> list[Outcome]:
    """Return what comes of a death at each step, until there is no such step any more.

    `first` and `every` take a part of the steps.
    """
    return await _lives(
        redis_url, scenario, ([(number, moment)] for number in itertools.count(first, every))
    )


async def enumerate_pairs(
    redis_url: str, scenario: Scenario, *, seed: int, count: int
) -> list[Outcome]:
    """Return what comes of two deaths one after the other, at points drawn by the seed."""
    dice = random.Random(seed)
    drawn = [
        [(dice.randint(8, 40), dice.choice(MOMENTS)), (dice.randint(1, 30), dice.choice(MOMENTS))]
        for _ in range(count)
    ]
    return await _lives(redis_url, scenario, drawn)


async def _lives(
    redis_url: str, scenario: Scenario, kills: Iterable[Sequence[Kill]]
) -> list[Outcome]:
    """Play a life for each list of kills; an endless one ends with the first life not killed."""
    outcomes: list[Outcome] = []
    waiting = iter(kills)

    async def lane(nursery: Nursery, waiting: Iterator[Sequence[Kill]]) -> None:
        for each in waiting:
            outcome = await live(nursery, redis_url, scenario, each)
            if not outcome.died_at and not isinstance(kills, list):
                return
            outcomes.append(outcome)

    async with Nursery() as nursery, asyncio.TaskGroup() as tasks:
        for _ in range(LANES):
            tasks.create_task(lane(nursery, waiting))
    return outcomes


def describe(outcomes: Iterable[Outcome]) -> list[str]:
    """Return one line for each life that went wrong."""
    return [
        f"killed {' then '.join(f'{moment} step {number}' for number, moment in outcome.kills)}"
        f" ({', '.join(outcome.died_at)}): {problem}"
        for outcome in outcomes
        for problem in outcome.problems
    ]


@asynccontextmanager
async def _server() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="ap-") as folder:
        async with await start_server(Path(folder), fsync="everysec") as server:
            yield server.url


async def main(seed: int) -> int:
    """Play every life, print what came of them, and return the exit status."""
    began, wrong, lives = time.monotonic(), 0, 0
    async with _server() as url:
        for name, scenario in SCENARIOS.items():
            for moment in MOMENTS:
                outcomes = await enumerate_points(url, scenario, moment)
                wrong += _report(f"{name}, killed {moment} each step", outcomes)
                lives += len(outcomes)
            outcomes = await enumerate_pairs(url, scenario, seed=seed, count=PAIRS)
            wrong += _report(f"{name}, killed twice (seed {seed})", outcomes)
            lives += len(outcomes)
    print(f"{lives} lives, {wrong} wrong, {time.monotonic() - began:.0f} s")  # noqa: T201
    return 1 if wrong else 0


def _report(name: str, outcomes: Sequence[Outcome]) -> int:
    bad = describe(outcomes)
    print(f"{name}: {len(outcomes)} lives, {len(bad)} wrong", *bad, sep="\n  ", flush=True)  # noqa: T201
    return len(bad)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    sys.exit(asyncio.run(main(parser.parse_args().seed)))
