"""What `make bench` found, as the tables of docs/figures.md."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

CLOSED = (64, 8, 256)
"""Connections of the closed loop; the first is the one whose ratios are promised."""

OPEN = (100, 500, 1_000)
"""Calls per second of the open loop."""

Result = dict[str, Any]
Rounds = Mapping[str, Result]
"""One round: `bare`, `always` and `everysec` with a result for each load, then the full paths."""

WORKERS = {"busy": {"processes": 2}, "alone": {"processes": 0}}
"""The `worker` settings of the full paths that do not have the usual ones."""

FULL = {
    "full": "",
    **{
        called: "".join(f", worker.{name}: {value}" for name, value in worker.items())
        for called, worker in WORKERS.items()
    },
    "singly": ", tickets read one by one",
}
"""The full paths: what each is called in a round, and what its row says of it."""


def machine() -> str:
    """Say what all of it ran on."""
    system = f"{platform.machine()}, {platform.system()} {platform.release()}"
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def written(rounds: Sequence[Rounds], seconds: float) -> str:
    """Return machine, method, and both tables in Markdown; rows can be pasted as they are."""
    method = (
        f"Method: {len(rounds)} interleaved rounds, {seconds:g} s a load (the open loop in the"
        " first one), medians; ratios to the bare handler of the same round."
    )
    return "\n".join(
        (
            f"Machine: {machine()}.",
            method,
            "",
            "| what | per second | ratio (each round) | p50 ms | p99 ms | p99.9 ms |",
            "| --- | --- | --- | --- | --- | --- |",
            *_closed(rounds),
            *_open(rounds),
            *_full(rounds),
            "",
            "| what | result | again with |",
            "| --- | --- | --- |",
            _verdict(rounds),
            "",
        )
    )


def faultless(rounds: Sequence[Rounds]) -> bool:
    """Whether every request of the full path came to one ticket and its one right status."""
    full = [each[path] for each in rounds for path in FULL]
    faults = ("doubled_tickets", "doubled_statuses", "wrong")
    return not any(_lost(each) or any(each[fault] for fault in faults) for each in full)


def _lost(full: Result) -> int:
    lost: int = full["accepted"] - full["statuses"]
    return lost


def _closed(rounds: Sequence[Rounds]) -> list[str]:
    lines = []
    for size in CLOSED:
        name = f"{size} connections"
        bare = [each["bare"][name] for each in rounds]
        lines.append(_row(f"bare handler, {name}", bare))
        for fsync in ("everysec", "always"):
            found = [each[fsync][name] for each in rounds]
            lines.append(_row(f"accept, fsync {fsync}, {name}", found, bare))
    return lines


def _open(rounds: Sequence[Rounds]) -> list[str]:
    return [
        _row(
            f"accept, fsync {fsync}, {rate}/s open loop",
            [each[fsync][name] for each in rounds if name in each[fsync]],
        )
        for fsync in ("everysec", "always")
        for rate, name in ((rate, f"{rate}/s open") for rate in OPEN)
    ]


def _full(rounds: Sequence[Rounds]) -> list[str]:
    """Return the rows of the full path; their latency is that of the 202."""
    bare = [each["bare"][f"{CLOSED[0]} connections"] for each in rounds]
    name = "full path, fsync always, drained"
    return [
        _row(f"{name}{says}", [each[path] for each in rounds], bare) for path, says in FULL.items()
    ]


def _verdict(rounds: Sequence[Rounds]) -> str:
    full = [each[path] for each in rounds for path in FULL]
    total = sum(each["accepted"] for each in full)
    lost = sum(map(_lost, full))
    tickets, statuses, wrong = (
        sum(each[fault] for each in full)
        for fault in ("doubled_tickets", "doubled_statuses", "wrong")
    )
    return (
        f"| full path of `make bench` | {total:,} requests: {lost} lost, {tickets} doubled tickets,"
        f" {statuses} doubled and {wrong} wrong statuses | `make bench` |"
    )


def _row(name: str, found: Sequence[Result], yard: Sequence[Result] = ()) -> str:
    ratios = [a["per_second"] / b["per_second"] for a, b in zip(found, yard, strict=False)]
    each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    ratio = f"{statistics.median(ratios):.3f} ({each})" if ratios else ""
    figures = [
        f"{statistics.median(it[key] for it in found):.1f}"
        for key in ("per_second", "p50", "p99", "p999")
    ]
    return "| " + " | ".join((name, figures[0], ratio, *figures[1:])) + " |"
