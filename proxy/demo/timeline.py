"""The timeline of a scene: what desk and witboost wrote into their journals, as sentences."""

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
    ("witboost", "hook_call"): ("witboost", "sends a hook call; {taken}: {request}"),
    ("witboost", "exchange"): ("proxy", "gets a short-lived JWT from witboost"),
    ("witboost", "callback"): ("proxy", "calls back: {method} {status}; witboost answers {closed}"),
    ("witboost", "fault"): ("witboost", "{spoils}, as it was told"),
    ("desk", "token"): ("proxy", "asks the desk for an OAuth2 token: {outcome}"),
    ("desk", "created"): ("desk", "has a new ticket: {name}"),
    ("desk", "find"): ("proxy", "looks for the ticket by correlation id: {found} found"),
    ("desk", "read"): ("proxy", "reads {name}: {status}"),
    ("desk", "status"): ("desk", "{by} sets {name} to {status}{why}"),
    ("desk", "event"): ("desk", "pushes a signed event about {name}: {taken}"),
    ("desk", "fault"): ("desk", "{spoils}, as it was told"),
    ("desk", "up"): ("desk", "is back"),  # that it goes down, nobody can read in time
    ("desk", "refused"): ("desk", "refuses an access token with 401: {operation}"),
}
"""Whose journal and what kind of entry; who did what."""
_FAULTS: Final[Mapping[tuple[Any, Any], str]] = {
    ("event", "lose"): "loses the event",
    ("create", "hang"): "keeps its answer to itself",
}

Line = tuple[int, str, str]
"""When (milliseconds since the epoch), who, and what."""


class Page:
    """Where the demo writes; in colours only for a terminal, and never against NO_COLOR."""

    def __init__(self, out: TextIO | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._out = out or sys.stdout
        self._coloured = self._out.isatty() and not (environ or {}).get("NO_COLOR")

    def write(self, line: str = "") -> None:
        """Write a line, at once: whoever reads a pipe wants to follow as well."""
        self._out.write(f"{line}\n")
        self._out.flush()

    def paint(self, text: str, style: str) -> str:
        """Return the text in the colour of a speaker, or of a judgement."""
        code = _COLOURS.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and code else text


class Timeline:
    """Writes what happened since the scene began, in order, as soon as it is known."""

    def __init__(self, page: Page, *, witboost: SimulatorClient, desk: SimulatorClient) -> None:
        self._page = page
        self._places = (witboost, desk)
        self._written = {witboost.name: 0, desk.name: 0}
        self._notes: list[Line] = []
        self._keys: dict[str, str] = {}
        self._began = 0

    def begin(self) -> None:
        """Count seconds from now."""
        self._began = time.time_ns() // 1_000_000

    def note(self, who: str, what: str) -> None:
        """Add what no journal can know."""
        self._notes.append((time.time_ns() // 1_000_000, who, what))

    async def catch_up(self, *, wait: float = 0.0) -> None:
        """Read both journals and write what is new, waiting up to some seconds for witboost."""
        for place in self._places:
            await place.catch_up(wait=wait)
            wait = 0.0
        lines, self._notes = self._notes, []
        for place in self._places:
            new = place.entries[self._written[place.name] :]
            self._written[place.name] = len(place.entries)
            lines += [(entry["at"], *told) for entry in new if (told := self._told(place, entry))]
        for at, who, what in sorted(lines, key=lambda line: line[0]):
            self._write(at, who, what)

    def _write(self, at: int, who: str, what: str) -> None:
        first, *rest = textwrap.wrap(what, WIDTH - len(_INDENT)) or [""]
        seconds = (at - self._began) / 1000
        self._page.write(f"  {seconds:6.2f}s  {self._page.paint(f'{who:<8}', who)}  {first}")
        for line in rest:
            self._page.write(f"{_INDENT}{line}")

    def _told(self, place: SimulatorClient, entry: Entry) -> tuple[str, str] | None:
        """Return who did what; None for what would only distract."""
        who, sentence = _SENTENCES.get((place.name, entry["kind"]), ("", ""))
        if not sentence:
            return None
        if entry["kind"] == "created":
            self._keys[entry["ticket"]] = entry["key"]
        ticket = str(entry.get("ticket"))
        name = self._keys.get(ticket, f"ticket {ticket}")
        return who, sentence.format_map({**entry, **_spoken(entry), "name": name})


def _spoken(entry: Entry) -> dict[str, str]:
    """Return how a sentence says what may be missing in an entry."""
    answer, comment = entry.get("answer"), entry.get("comment")
    outcome = entry.get("outcome")
    fault = (entry.get("operation"), entry.get("fault"))
    return {
        "taken": f"the proxy answers {answer}" if answer else "nobody answers",
        "request": entry.get("correlation_id") or "no request",
        "closed": str(answer) if outcome == "accepted" else f"{answer} ({outcome})",
        "why": f' ("{comment}")' if comment else "",
        "spoils": _FAULTS.get(fault, f"spoils a call ({fault[0]}: {fault[1]})"),
    }


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table with aligned columns, the first row with a rule below."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
