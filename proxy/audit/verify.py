"""Is the audit whole? Reads its files and nothing else; each problem is one sentence. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from proxy.audit.chain import CHECKPOINT, GENESIS, HEAD, digest
from proxy.audit.files import parsed
from proxy.security.signing import Verifier

_REACH: Final = 200_000
"""Lines that are remembered: how far before its end the chain may branch off."""


@dataclass(slots=True)
class Report:
    """What verification found; the audit is whole if there are no problems.

    `first` and `last` are numbers of lines, `hash` is the last one's, `signed` is the last line
    that a signed head covers; notes explain what is no problem.
    """

    first: int = 0
    last: int = 0
    hash: str = ""
    signed: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Known:
    hash: str
    entry: bytes  # what it says, whichever line says it; empty for heads and checkpoints


def verify(
    files: Iterable[tuple[str, Iterable[bytes]]],
    *,
    verifier: Verifier | None,
    heads: Sequence[Any] = (),
) -> Report:
    """Return what is wrong with files of lines, given oldest first, each with its name.

    `heads` are signed heads that were kept elsewhere, such as head.json or a copy in a log: each
    must be in the chain, so a tail that was cut off behind one of them shows.
    """
    reading = _Reading(verifier)
    for head in heads:
        reading.expect(head)
    for name, lines in files:
        reading.read(name, lines)
    return reading.end()


class _Reading:
    def __init__(self, verifier: Verifier | None) -> None:
        self.report = Report()
        self._verifier = verifier
        self._known: dict[int, _Known] = {}
        self._owed: set[bytes] = set()  # entries of a branch that was left: to be found again
        self._expected: set[tuple[int, str]] = set()  # lines that heads kept elsewhere promise
        self._begins_after: tuple[int, str] | None = None
        self._unreadable = False

    def expect(self, head: Any) -> None:
        content = self._opened(head, HEAD, "the head that was kept elsewhere")
        if content:
            self._expected.add((content["lines"], content["hash"]))

    def read(self, name: str, lines: Iterable[bytes]) -> None:
        for number, text in enumerate(lines, 1):
            line = parsed(text)
            where = f"{name}, line {number}"
            if line is not None:
                self._take(line, text[:-1], where, begins=number == 1)
            elif not text.endswith(b"\n"):
                self.report.notes.append(f"{where}: half written, as a crash leaves it")
            else:
                self.report.problems.append(f"{where}: is no line of an audit any more")
                self._unreadable = True

    def _take(self, line: Mapping[str, Any], text: bytes, where: str, *, begins: bool) -> None:
        seq, last = line["seq"], self.report.last
        if not self._known:
            self.report.first, self._begins_after = seq, (seq - 1, line["prev"])
        elif begins and seq <= last and self._hash_of(seq - 1) == line["prev"]:
            self._branch(seq, where)
        elif seq != last + 1 or line["prev"] != self.report.hash:
            self._broken(seq, where)
        self._unreadable = False
        hashed = digest(text)
        self._known[seq] = _Known(hashed, _said(line))
        self._known.pop(seq - _REACH, None)
        self._owed.discard(_said(line))
        self.report.last, self.report.hash = seq, hashed
        self._expected.discard((seq, hashed))  # also in a branch that is left
        if "head" in line:
            self._head(line, where)
        if "checkpoint" in line:
            self._checkpoint(line, where)

    def _hash_of(self, seq: int) -> str:
        if self._begins_after and seq == self._begins_after[0]:
            return self._begins_after[1]
        return self._known[seq].hash if seq in self._known else ""

    def _branch(self, seq: int, where: str) -> None:
        """A sealer that did not see these lines sealed their entries again."""
        left = [self._known.pop(at) for at in range(seq, self.report.last + 1)]
        self._owed |= {known.entry for known in left if known.entry}
        self.report.notes.append(f"{where}: {len(left)} lines before it were sealed again")

    def _broken(self, seq: int, where: str) -> None:
        last = self.report.last
        if self._unreadable:
            return
        if seq > last + 1:
            said = f"lines {last + 1} to {seq - 1} of the chain are missing before it"
        elif seq == last + 1:
            said = "the line before it was changed"
        else:
            said = f"is line {seq} of the chain, and stands after line {last}"
        self.report.problems.append(f"{where}: {said}")

    def _head(self, line: Mapping[str, Any], where: str) -> None:
        content = self._opened(line["head"], HEAD, where)
        if not content:
            return
        if content["lines"] != line["seq"] - 1 or content["hash"] != line["prev"]:
            self.report.problems.append(f"{where}: the signed head is of other lines")
        else:
            self.report.signed = line["seq"]

    def _checkpoint(self, line: Mapping[str, Any], where: str) -> None:
        content = self._opened(line["checkpoint"], CHECKPOINT, where)
        if content and self._begins_after == (content["lines"], content["hash"]):
            self._begins_after = (0, GENESIS)

    def _opened(self, token: Any, kind: str, where: str) -> Mapping[str, Any] | None:
        """Return what was signed; without keys, and unsigned, what it says."""
        if isinstance(token, dict):
            if self._verifier is None:
                return token
            self.report.problems.append(f"{where}: is not signed")
            return None
        if self._verifier is None:
            self.report.problems.append(f"{where}: is signed, and there are no keys to verify it")
            return None
        try:
            return self._verifier.open(str(token), kind=kind)
        except ValueError as error:
            self.report.problems.append(f"{where}: {error}")
            return None

    def end(self) -> Report:
        report = self.report
        if self._begins_after and self._begins_after[0]:
            report.problems.append(
                f"the lines before line {report.first} are missing, and no checkpoint says that"
                " retention removed them"
            )
        if self._owed:
            report.problems.append(
                f"{len(self._owed)} entries stand in lines that the chain left, and nowhere else:"
                " was an older store restored, or the chain forked?"
            )
        for lines, _ in sorted(self._expected):
            if lines > report.last:
                report.problems.append(
                    f"the end is missing: a signed head names line {lines}, and the last one here"
                    f" is {report.last}"
                )
            elif lines >= report.first:
                report.problems.append(f"line {lines} is not the one that a signed head names")
        if report.last > report.signed:
            report.problems.append(
                f"lines {report.signed + 1} to {report.last} are covered by no head: the end was"
                " cut off, or a sealer died and none has gone on yet"
            )
        return report


def _said(line: Mapping[str, Any]) -> bytes:
    """Return a digest of what a line says, apart from its place in the chain."""
    if "entry" not in line:
        return b""
    what = [line.get("stream"), line.get("at"), line.get("request"), line["entry"]]
    return hashlib.sha256(orjson.dumps(what)).digest()
