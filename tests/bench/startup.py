"""How long the command line and `serve` take to start, and what a started `serve` uses."""

import math
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench.served import clean_environ, serving
from tests.bench.sides import Side
from tests.support.example_settings import write_example

REPEATS: Final = 3
"""How often a round runs each command; its fastest run counts, as other load only slows it down."""

_WITHIN: Final = 60.0  # seconds for one command
_EXAMPLES: Final = Path("deploy/examples")

Sampled = dict[str, float]


def example_in(folder: Path, tree: Path) -> Path:
    """Write the example settings of a tree below a folder, ready to be loaded; return their path.

    Both sides load those of BASE: a newer program reads the settings of an older one.
    """
    folder.mkdir()
    (folder / "sample.json").write_bytes((tree / _EXAMPLES / "sample.json").read_bytes())
    return write_example(folder, tree / _EXAMPLES / "approval-proxy.yaml")


def commands(config: Path) -> Mapping[str, Sequence[str]]:
    """Return the arguments of each command that is measured, by the name of its figures."""
    settings = ("--config", str(config))
    return {
        "--help": ("--help",),
        "--version": ("--version",),
        "keys new": ("keys", "new"),
        "check": ("check", *settings),
        "explain": ("explain", *settings, "--request", str(config.with_name("sample.json"))),
    }


def command(
    side: Side, name: str, arguments: Sequence[str], clock: Callable[[], float] = time.perf_counter
) -> Sampled:
    """Run a command and the yardstick in turns; return the command's times and their ratio."""
    lines = {
        "own": (str(side.command), *arguments),
        "yardstick": (str(side.python), "-c", "import aiohttp"),
    }
    wall = dict.fromkeys(lines, math.inf)
    cpu = dict.fromkeys(lines, math.inf)
    for _ in range(REPEATS):
        for key, words in lines.items():
            began, used = clock(), _children()
            _run(words)
            wall[key] = min(wall[key], clock() - began)
            cpu[key] = min(cpu[key], _children() - used)
    return {
        f"`{name}`, ms": 1_000 * wall["own"],
        f"`{name}`, processor ms": 1_000 * cpu["own"],
        f"`{name}`, times `import aiohttp`": wall["own"] / wall["yardstick"],
    }


def _children() -> float:
    """Return the processor time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run(words: Sequence[str]) -> None:
    """Run a command to its end; raises SystemExit with what it says if it fails."""
    done = subprocess.run(
        words, capture_output=True, env=clean_environ(), timeout=_WITHIN, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr.decode(errors='replace')}")


async def serve(side: Side, config: Path) -> Sampled:
    """Start `serve` on a new embedded store, and look at it when ready and when its worker works.

    What its processes use is taken without that of the store's server.
    """
    folder = config.parent / f"store-{time.monotonic_ns()}"
    store = {"APPROVAL_PROXY__STORE__FOLDER": str(folder)}
    async with serving([str(side.command)], config, cwd=config.parent, settings=store) as served:
        ready = served.usage()
        works = await served.worker_up(1)
        started = served.usage()
    sample = {"`serve` is ready, ms": 1_000 * served.ready, "its worker works, ms": 1_000 * works}
    for moment, used in (("ready", ready), ("its worker works", started)):
        if used is not None:
            sample |= {
                f"memory when {moment}, PSS MiB": used.pss,
                f"memory when {moment}, RSS MiB": used.rss,
                f"processor time until {moment}, ms": 1_000 * used.cpu,
            }
    return sample
