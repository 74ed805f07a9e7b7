"""`make bench`: how fast the proxy is, as ratios to a bare aiohttp handler of the same run.

Rounds are interleaved, so a machine whose speed drifts moves both sides of a ratio. Each part is a
process of its own: yardstick, proxy, store, neighbours, load generator. Results, machine and method
go to `bench-results/bench.json` and, as docs/figures.md has them, to `bench-results/bench.md`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import yaml

from proxy.store.embedded.server import EmbeddedServer, Fsync
from tests.bench.report import CLOSED, OPEN, WORKERS, Result, Rounds, faultless, machine, written
from tests.bench.served import serving
from tests.support.rig import settings_tree

ROOT = Path(__file__).parents[2]
THIS = (sys.executable, "-m", "proxy")
"""The command of the proxy in this tree."""
CALLBACKS = "http://127.0.0.1:{}"
MANY = {
    "path": "/api/tickets",
    "query": {"ids": "{{ ids | join(',') }}"},
    "tickets": "tickets",
}
"""How the desk reads tickets that are due together in one call, as most real systems can."""


@asynccontextmanager
async def running(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a Python process that ends when its standard input closes."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=pipe, stdout=pipe, cwd=ROOT
    )
    assert program.stdin is not None
    try:
        yield program
    finally:
        program.stdin.close()
        await asyncio.wait_for(program.wait(), 30)


async def line_of(program: asyncio.subprocess.Process) -> str:
    """Return the next line that a process prints."""
    assert program.stdout is not None
    return (await asyncio.wait_for(program.stdout.readline(), 30)).decode()


async def load(port: int, seconds: float, shape: str, size: int, callbacks: str) -> Result:
    """Run the load generator once."""
    words = ("-m", "tests.bench.load", str(port), str(seconds), shape, str(size), callbacks)
    async with running(*words) as program:
        assert program.stdout is not None
        found: Result = json.loads(await program.stdout.read())
    return found


@asynccontextmanager
async def proxy(
    folder: Path,
    neighbours: int,
    role: str,
    redis_url: str | None,
    *,
    together: bool = True,
    worker: Mapping[str, int] = MappingProxyType({}),
    command: Sequence[str] = THIS,
) -> AsyncIterator[int]:
    """Start the proxy as users do, with everything on; yields its port once all of it works."""
    tree = settings_tree(
        desk=CALLBACKS.format(neighbours),
        witboost=CALLBACKS.format(neighbours),
        redis_url=redis_url,
        folder=folder,
        # accepting is measured without a worker, so the backlog grows by design
        limits={"backlog": 10_000_000, "slow_from": 9_000_000} if role == "web" else {},
        worker={"processes": 1, **worker},
    )
    tree["store"]["partitions"] = 8
    if together:
        tree["ticket_systems"]["desk"]["read_many"] = MANY
    config = folder / f"{role}-{time.monotonic_ns()}.yaml"
    config.write_text(yaml.safe_dump(tree))
    async with serving(command, config, role, cwd=ROOT) as served:
        await served.worker_up(0 if role == "web" else tree["worker"]["processes"])
        yield served.port


async def accept(
    folder: Path,
    fsync: Fsync,
    seconds: float,
    *,
    opened: bool = False,
    sizes: Sequence[int] = CLOSED,
    command: Sequence[str] = THIS,
) -> Result:
    """Measure accepting at one fsync setting, each load once; `sizes` are numbers of connections.

    `command` starts the proxy.
    """
    results: Result = {}
    store = await EmbeddedServer.start(folder / f"store-{time.monotonic_ns()}", fsync=fsync)
    async with store, proxy(folder, 9, "web", store.url, command=command) as port:
        callbacks = CALLBACKS.format(9)
        await load(port, 0.5, "closed", 64, callbacks)  # warm-up
        for connections in sizes:
            name = f"{connections} connections"
            results[name] = await load(port, seconds, "closed", connections, callbacks)
        for rate in OPEN if opened else ():
            results[f"{rate}/s open"] = await load(port, seconds, "open", rate, callbacks)
    return results


async def bare(seconds: float) -> Result:
    """Measure the yardstick."""
    async with running("-m", "tests.bench.bare") as program:
        port = int(await line_of(program))
        await load(port, 0.5, "closed", 64, "http://127.0.0.1:9")
        return {
            f"{connections} connections": await load(
                port, seconds, "closed", connections, "http://127.0.0.1:9"
            )
            for connections in CLOSED
        }


async def full_path(
    folder: Path,
    seconds: float,
    *,
    together: bool = True,
    worker: Mapping[str, int] = MappingProxyType({}),
    command: Sequence[str] = THIS,
) -> Result:
    """Measure hook call to callback: load, then drain until every status has arrived.

    `together` says whether the desk can read many tickets in one call, `worker` what is set for the
    work, and `command` starts the proxy.
    """
    async with running("-m", "tests.bench.neighbours") as neighbours:
        near = int(await line_of(neighbours))
        program = proxy(
            folder, near, "all", None, together=together, worker=worker, command=command
        )
        async with program as port:
            began = time.monotonic()
            callbacks = CALLBACKS.format(near)
            accepted = await load(port, seconds, "closed", 64, callbacks)
            counted = await _drained(neighbours, accepted["calls"] - accepted["refused"])
            took = time.monotonic() - began
    return {
        **counted,
        "accepted": accepted["calls"] - accepted["refused"],
        "seconds": round(took, 2),
        "per_second": round(counted["statuses"] / took, 1),
        **{key: accepted[key] for key in ("p50", "p99", "p999")},
    }


async def _drained(neighbours: asyncio.subprocess.Process, accepted: int) -> dict[str, int]:
    until = time.monotonic() + 120
    while True:
        assert neighbours.stdin is not None
        neighbours.stdin.write(b"count\n")
        counted: dict[str, int] = json.loads(await line_of(neighbours))
        if counted["statuses"] >= accepted or time.monotonic() > until:
            return counted
        await asyncio.sleep(0.2)


async def main() -> int:
    """Run the rounds and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    options = parser.parse_args()
    rounds: list[Rounds] = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            rounds.append(await measured(Path(name), options.seconds, opened=number == 0))
        sys.stdout.write(f"round {number + 1} of {options.rounds} is done\n")
    report(rounds, options.seconds)
    return 0 if faultless(rounds) else 1


async def measured(folder: Path, seconds: float, *, opened: bool) -> Rounds:
    """Measure one round; `opened` says whether with the open loop."""
    for name in ("singly", *WORKERS):
        (folder / name).mkdir()  # a store of its own
    return {
        "bare": await bare(seconds),
        "always": await accept(folder, "always", seconds, opened=opened),
        "everysec": await accept(folder, "everysec", seconds, opened=opened),
        "full": await full_path(folder, seconds),
        **{
            name: await full_path(folder / name, seconds, worker=worker)
            for name, worker in WORKERS.items()
        },
        "singly": await full_path(folder / "singly", seconds, together=False),
    }


def report(rounds: list[Rounds], seconds: float) -> None:
    """Write bench.json and bench.md, and print the latter."""
    folder = ROOT / "bench-results"
    folder.mkdir(exist_ok=True)
    text = written(rounds, seconds)
    (folder / "bench.md").write_text(text)
    found = {"machine": machine(), "seconds": seconds, "rounds": rounds}
    (folder / "bench.json").write_text(json.dumps(found, indent=1))
    sys.stdout.write(text)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
