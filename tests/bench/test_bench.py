"""The benchmark measures what it says, and its tables name every figure that is promised."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.bench.report import CLOSED, FULL, OPEN, WORKERS, Result, Rounds, faultless, written
from tests.bench.run import accept, bare, full_path

FIGURES = Path(__file__).parents[2] / "docs" / "figures.md"


@pytest.mark.parametrize(
    "how",
    [{}, {"together": False}, *({"worker": worker} for worker in WORKERS.values())],
    ids=["together", "one by one", *WORKERS],
)
async def test_the_full_path_of_the_benchmark_loses_nothing(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    full = await full_path(tmp_path, 0.2, **how)

    assert full["accepted"] > 0
    assert faultless([dict.fromkeys(FULL, full)])
    assert {"per_second", "p50", "p99", "p999"} <= full.keys()


async def test_the_yardstick_answers_every_load() -> None:
    found = await bare(0.1)

    assert [found[f"{size} connections"]["refused"] for size in CLOSED] == [0] * len(CLOSED)


async def test_accepting_takes_every_call_of_every_load(tmp_path: Path) -> None:
    found = await accept(tmp_path, "everysec", 0.1, opened=True)

    assert len(found) == len(CLOSED) + len(OPEN)
    assert [load["refused"] for load in found.values()] == [0] * len(found)


@pytest.mark.parametrize("path", FULL)
@pytest.mark.parametrize("fault", ["statuses", "doubled_tickets", "doubled_statuses", "wrong"])
def test_a_fault_fails_the_benchmark(path: str, fault: str) -> None:
    sound = _round()
    full = sound[path]

    assert faultless([sound])
    assert not faultless([{**sound, path: full | {fault: full[fault] + 1}}, sound])


def test_the_tables_are_those_of_the_page_of_figures() -> None:
    """A row that the page has, or lacks, is one that the benchmark has, or lacks."""
    ours = _names(written([_round(), _round()], 4.0))
    shown = _names(FIGURES.read_text())

    assert len(ours) == 3 * len(CLOSED) + 2 * len(OPEN) + len(FULL) + 1
    assert ours <= shown


def test_ratios_are_those_of_the_same_round() -> None:
    slow, fast = _round(), _round()
    fast["bare"]["64 connections"] = _load(400.0)

    assert "0.625 (1.000, 0.250)" in written([slow, fast], 4.0)


def _load(per_second: float = 100.0) -> Result:
    return {"per_second": per_second, "p50": 1.0, "p99": 2.0, "p999": 3.0}


def _round() -> Rounds:
    loads = [f"{size} connections" for size in CLOSED] + [f"{rate}/s open" for rate in OPEN]
    accept = {name: _load() for name in loads}
    counted = {"accepted": 9, "statuses": 9, "doubled_tickets": 0, "doubled_statuses": 0}
    full = {**_load(), **counted, "wrong": 0}
    return {
        "bare": dict(accept),
        "always": accept,
        "everysec": accept,
        **dict.fromkeys(FULL, full),
    }


def _names(text: str) -> set[str]:
    names = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)
    return {name for name in names if name not in {"what", "---"}}
