"""Whether a second ticket is the declared exception, by evidence and not by goodwill.

Declared is one case only: a process is frozen for longer than lease and settle time, exactly
between its last check and the sending of a create. The evidence is in three places that know
nothing of each other: the log of that process (it wrote the intent before it froze, and nothing of
this request until it was continued), the times of the freeze, and the ticket system's journal (the
ticket came right after).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

_INTENT: Final = "Sending, now opening"


@dataclass(frozen=True, slots=True)
class Freeze:
    """One process that stood still; moments in milliseconds since the epoch."""

    process: str
    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class Said:
    """What one process logged about one request: when, and whether it was an intent to create."""

    at: int
    intent: bool


Logs = Mapping[str, Sequence[Said]]
"""What each process said about one request, in order."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The times that the promise names, in milliseconds: `deadline` is that of one create."""

    lease: int
    settle: int
    deadline: int


def is_declared(created: Sequence[int], logs: Logs, freezes: Sequence[Freeze], is_: Terms) -> bool:
    """Whether all but one of the tickets, created at these moments, came out of such a freeze."""
    explained = sum(
        any(_came_out_of(freeze, moment, logs.get(freeze.process, ()), is_) for freeze in freezes)
        for moment in created
    )
    return explained >= len(created) - 1


def _came_out_of(freeze: Freeze, created: int, said: Sequence[Said], terms: Terms) -> bool:
    if freeze.ended - freeze.began <= terms.lease + terms.settle:
        return False
    if not freeze.ended <= created <= freeze.ended + terms.deadline:
        return False
    before = [line for line in said if line.at <= freeze.began]
    return bool(before) and before[-1].intent and freeze.began - before[-1].at < terms.lease


def read_logs(files: Mapping[str, Path], correlation_id: str) -> Logs:
    """Return what the processes said about one request, from their logs."""
    return {name: list(_lines(file, correlation_id)) for name, file in files.items()}


def _lines(file: Path, correlation_id: str) -> Iterator[Said]:
    for line in file.read_bytes().splitlines():
        if correlation_id.encode() in line and line.endswith(b"}"):
            told = orjson.loads(line)
            moment = datetime.fromisoformat(told["time"])
            yield Said(int(moment.timestamp() * 1_000), str(told["message"]).endswith(_INTENT))
