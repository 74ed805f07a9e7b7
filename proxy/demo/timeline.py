"""The timeline of a scene: the journals of desk and witboost, as sentences."""

import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from proxy.demo.simulator_client import SimulatorClient
from proxy.simulators.journal import Entry

WIDTH: Final = 100
_INDENT: Final = " " * 21
_COLOURS: Final = {
    "witboost": "36",  # cyan
    "desk": "33",  # yellow
    "proxy": "32",  # green
    "heading": "1",
    "bad": "1;31",
    "good": "1;32",
    "faint": "2",
}

_SENTENCES: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("witboost", "hook_call"): ("witboost", "sends a hook call; {answered}: {request}"),
    ("witboost", "exchange"): ("proxy", "gets a short-lived JWT from witboost"),
    ("witboost", "callback"): ("proxy", "calls back: {method} {status}; witboost answers {closed}"),
    ("witboost", "fault"): ("witboost", "{fault} (injected fault)"),
    ("desk", "token"): ("proxy", "asks the desk for an OAuth2 token: {outcome}"),
    ("desk", "created"): ("desk", "has a new ticket: {name}"),
    ("desk", "find"): ("proxy", "looks for the ticket by correlation id: {found} found"),
    ("desk", "read"): ("proxy", "reads {name}: {status}"),
    ("desk", "status"): ("desk", "{by} sets {name} to {status}{why}"),
    ("desk", "event"): ("desk", "pushes a signed event about {name}: {answered}"),
    ("desk", "fault"): ("desk", "{fault} (injected fault)"),
    ("desk", "up"): ("desk", "is up again"),  # its "down" cannot be read before it is down
    ("desk", "refused"): ("desk", "refuses an access token with 401: {operation}"),
}
"""By simulator and kind of entry: the actor, and the sentence."""
_FAULTS: Final[Mapping[tuple[Any, Any], str]] = {
    ("event", "lose"): "loses the event",
    ("create", "hang"): "holds its answer back",
}

Line = tuple[int, str, str]
"""Time (milliseconds since the epoch), actor and sentence."""


class Output:
    """The output of the demo; in colour only on a terminal, and not if NO_COLOR is set."""

    def __init__(self, out: TextIO | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._out = out or sys.stdout
        self._coloured = self._out.isatty() and not (environ or {}).get("NO_COLOR")

    def write(self, line: str = "") -> None:
        """Write a line and flush, so that a reader of a pipe can follow."""
        self._out.write(f"{line}\n")
        self._out.flush()

    def paint(self, text: str, style: str) -> str:
        """Return the text in the colour of an actor or a style."""
        code = _COLOURS.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and code else text


class Timeline:
    """Writes the new journal entries of a scene in order, with the seconds since its beginning."""

    def __init__(self, output: Output, *, witboost: SimulatorClient, desk: SimulatorClient) -> None:
        self._output = output
        self._simulators = (witboost, desk)
        self._written = {witboost.name: 0, desk.name: 0}
        self._notes: list[Line] = []
        self._keys: dict[str, str] = {}
        self._began = 0

    def begin(self) -> None:
        """Start to count the seconds."""
        self._began = time.time_ns() // 1_000_000

    def note(self, who: str, what: str) -> None:
        """Add a sentence about an event that is in no journal."""
        self._notes.append((time.time_ns() // 1_000_000, who, what))

    async def catch_up(self, *, wait: float = 0.0) -> None:
        """Read both journals and write the new entries, waiting some seconds for witboost's."""
        for simulator in self._simulators:
            await simulator.catch_up(wait=wait)
            wait = 0.0
        lines, self._notes = self._notes, []
        for simulator in self._simulators:
            new = simulator.entries[self._written[simulator.name] :]
            self._written[simulator.name] = len(simulator.entries)
            lines += [
                (entry["at"], *sentence)
                for entry in new
                if (sentence := self._sentence(simulator, entry))
            ]
        for at, who, what in sorted(lines, key=lambda line: line[0]):
            self._write(at, who, what)

    def _write(self, at: int, who: str, what: str) -> None:
        first, *rest = textwrap.wrap(what, WIDTH - len(_INDENT)) or [""]
        seconds = (at - self._began) / 1000
        self._output.write(f"  {seconds:6.2f}s  {self._output.paint(f'{who:<8}', who)}  {first}")
        for line in rest:
            self._output.write(f"{_INDENT}{line}")

    def _sentence(self, simulator: SimulatorClient, entry: Entry) -> tuple[str, str] | None:
        """Return actor and sentence; None for an entry that is not shown."""
        who, sentence = _SENTENCES.get((simulator.name, entry["kind"]), ("", ""))
        if not sentence:
            return None
        if entry["kind"] == "created":
            self._keys[entry["ticket"]] = entry["key"]
        ticket = str(entry.get("ticket"))
        name = self._keys.get(ticket, f"ticket {ticket}")
        return who, sentence.format_map({**entry, **_phrases(entry), "name": name})


def _phrases(entry: Entry) -> dict[str, str]:
    """Return the phrases that depend on optional fields of an entry."""
    answer, comment = entry.get("answer"), entry.get("comment")
    outcome = entry.get("outcome")
    fault = (entry.get("operation"), entry.get("fault"))
    return {
        "answered": f"the proxy answers {answer}" if answer else "no answer",
        "request": entry.get("correlation_id") or "no request",
        "closed": str(answer) if outcome == "accepted" else f"{answer} ({outcome})",
        "why": f' ("{comment}")' if comment else "",
        "fault": _FAULTS.get(fault, f"disturbs a call ({fault[0]}: {fault[1]})"),
    }


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with aligned columns and a rule below the first row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
