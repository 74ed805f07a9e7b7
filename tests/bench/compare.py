"""`make bench-compare BASE=<commit>`: the working tree (HEAD) against a commit, side by side.

The commit is checked out in a temporary git worktree; each side runs in an environment of its own
(see `sides`). A round measures both sides, and every second round in the other order (BASE HEAD,
HEAD BASE, ...), so a machine whose speed drifts moves both. Instruments and settings are the same
for both: this tree's load generator, store and neighbours, and the example settings of BASE. The
sides are called as users call them, so any two commits can be compared. Ratios with their intervals
(see `ratios`) and every measured value go to `bench-results/compare-*.json`.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, NoReturn

from proxy.store.embedded.server import Fsync
from tests.bench.ratios import Sample, ratios, table
from tests.bench.report import Result, machine
from tests.bench.run import ROOT, accept, full_path
from tests.bench.sides import Side, base_side, commit_of, described, head_side, worktree
from tests.bench.startup import command, commands, example_in, serve

Measure = Callable[[Side], Sample]
"""Measures one part of a side, once."""

FEWEST: Final = 5  # rounds
_CONNECTIONS: Final = 64


def rounds_of(
    measures: Sequence[Measure], base: Side, head: Side, rounds: int
) -> tuple[list[Sample], list[Sample]]:
    """Measure everything in every round; return the samples of BASE and those of HEAD.

    The first measurement of each kind on each side warms caches and does not count.
    """
    for measure in measures:
        for side in (base, head):
            measure(side)
    found: dict[str, list[Sample]] = {base.name: [], head.name: []}
    for number in range(rounds):
        samples: dict[str, dict[str, float]] = {base.name: {}, head.name: {}}
        for measure in measures:
            for side in (base, head) if number % 2 == 0 else (head, base):
                samples[side.name] |= measure(side)
        for name, sample in samples.items():
            found[name].append(sample)
        sys.stdout.write(f"round {number + 1} of {rounds} is done\n")
        sys.stdout.flush()
    return found[base.name], found[head.name]


def measures_of(folder: Path, example: Path, seconds: float) -> dict[str, list[Measure]]:
    """Return everything that can be measured, by the name that `--only` takes.

    Each measure is short, so that its two sides come right after each other.
    """

    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=folder))

    def running(name: str, arguments: Sequence[str]) -> Measure:
        return lambda side: command(side, name, arguments)

    def accepting(fsync: Fsync) -> Measure:
        name = f"{_CONNECTIONS} connections"

        def measure(side: Side) -> Sample:
            program = [str(side.command)]
            load = accept(fresh(), fsync, seconds, sizes=(_CONNECTIONS,), command=program)
            return {f"accept, fsync {fsync}, {name}, per second": _rate(asyncio.run(load)[name])}

        return measure

    def full(side: Side) -> Sample:
        drained = full_path(fresh(), seconds, command=[str(side.command)])
        return {"full path, fsync always, drained, per second": _rate(asyncio.run(drained))}

    return {
        "cli": [running(name, arguments) for name, arguments in commands(example).items()],
        "serve": [lambda side: asyncio.run(serve(side, example))],
        "accept": [accepting("everysec"), accepting("always")],
        "full": [full],
    }


def _rate(result: Result) -> float:
    """Return the rate of a load; one that was not served whole says nothing and ends the run."""
    if (
        result.get("refused")
        or result.get("wrong")
        or result.get("accepted") != result.get("statuses")
    ):
        raise SystemExit(f"requests were refused or lost: {result}")
    rate: float = result["per_second"]
    return rate


def main() -> int:
    """Compare, print the table and write everything down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", metavar="BASE", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=FEWEST, help=f"at least {FEWEST} to quote")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--only", nargs="+", choices=("cli", "serve", "accept", "full"))
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    commit, head_is = commit_of(ROOT, options.base), described(ROOT)
    environments = ROOT / ".venv-bench"
    with worktree(ROOT, commit) as tree, tempfile.TemporaryDirectory() as name:
        base, head = base_side(environments, tree, commit), head_side(environments, ROOT)
        folder = Path(name)
        parts = measures_of(folder, example_in(folder / "settings", tree), options.seconds)
        wanted = [measure for name in options.only or parts for measure in parts[name]]
        load = os.getloadavg()
        of_base, of_head = rounds_of(wanted, base, head, options.rounds)
    text = _report(
        of_base,
        of_head,
        {
            "base": commit,
            "head": head_is,
            "machine": machine(),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "load_average": {"before": load, "after": os.getloadavg()},
        },
    )
    sys.stdout.write(text)
    return 0


def _report(base: Sequence[Sample], head: Sequence[Sample], about: Mapping[str, object]) -> str:
    """Write the results to a file of their own, and return them as text."""
    compared = ratios(base, head)
    folder = ROOT / "bench-results"
    folder.mkdir(exist_ok=True)
    path = folder / f"compare-{str(about['base'])[:12]}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    ratio_tree = {name: asdict(it) for name, it in compared.items()}
    samples = {"BASE": base, "HEAD": head}
    path.write_text(json.dumps({**about, "ratios": ratio_tree, "samples": samples}, indent=1))
    said = "".join(f"{key}: {value}\n" for key, value in about.items())
    return f"{said}\n{table(compared)}\nWritten to {path.relative_to(ROOT)}\n"


def _stop(_number: int, _frame: object) -> NoReturn:
    sys.exit("stopped")


if __name__ == "__main__":
    sys.exit(main())
