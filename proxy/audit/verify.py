"""Verification of the audit: reads its files only; each problem is one sentence. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from proxy.audit.chain import CHECKPOINT, GENESIS, HEAD, digest
from proxy.audit.files import parsed
from proxy.security.signing import Verifier

_MAX_FORK: Final = 200_000
"""Lines that are remembered: how far before its end the chain may fork."""


@dataclass(slots=True)
class Report:
    """The result of a verification; the audit is complete if there are no problems."""

    first: int = 0
    """The number of the first line."""
    last: int = 0
    """The number of the last line."""
    hash: str = ""
    """The hash of the last line."""
    signed: int = 0
    """The last line that a signed head covers."""
    problems: list[str] = field(default_factory=list)
    """Each problem, as one sentence."""
    notes: list[str] = field(default_factory=list)
    """Irregularities that are not problems."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that was read."""

    hash: str
    """Its hash."""
    entry: bytes
    """The digest of its entry; empty for heads and checkpoints."""


def verify(
    files: Iterable[tuple[str, Iterable[bytes]]],
    *,
    verifier: Verifier | None,
    heads: Sequence[Any] = (),
) -> Report:
    """Verify files, given oldest first as name and lines.

    `heads` are signed heads from elsewhere, such as head.json or a copy in a log: each must be in
    the chain, so a tail that was cut off before one of them is detected.
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
        self._lines: dict[int, _Line] = {}
        self._abandoned: set[bytes] = set()  # entries of an abandoned branch: they must come again
        self._expected: set[tuple[int, str]] = set()  # lines that heads from elsewhere name
        self._begins_after: tuple[int, str] | None = None
        self._unreadable = False

    def expect(self, head: Any) -> None:
        content = self._opened(head, HEAD, "the head from elsewhere")
        if content:
            self._expected.add((content["lines"], content["hash"]))

    def read(self, name: str, lines: Iterable[bytes]) -> None:
        for number, text in enumerate(lines, 1):
            line = parsed(text)
            where = f"{name}, line {number}"
            if line is not None:
                self._take(line, text[:-1], where, begins=number == 1)
            elif not text.endswith(b"\n"):
                self.report.notes.append(f"{where}: incomplete, as after a crash")
            else:
                self.report.problems.append(f"{where}: not a line of an audit")
                self._unreadable = True

    def _take(self, line: Mapping[str, Any], text: bytes, where: str, *, begins: bool) -> None:
        seq, last = line["seq"], self.report.last
        if not self._lines:
            self.report.first, self._begins_after = seq, (seq - 1, line["prev"])
        elif begins and seq <= last and self._hash_of(seq - 1) == line["prev"]:
            self._branch(seq, where)
        elif seq != last + 1 or line["prev"] != self.report.hash:
            self._broken(seq, where)
        self._unreadable = False
        hashed = digest(text)
        self._lines[seq] = _Line(hashed, _entry_digest(line))
        self._lines.pop(seq - _MAX_FORK, None)
        self._abandoned.discard(_entry_digest(line))
        self.report.last, self.report.hash = seq, hashed
        self._expected.discard((seq, hashed))  # also in a branch that is abandoned later
        if "head" in line:
            self._head(line, where)
        if "checkpoint" in line:
            self._checkpoint(line, where)

    def _hash_of(self, seq: int) -> str:
        if self._begins_after and seq == self._begins_after[0]:
            return self._begins_after[1]
        return self._lines[seq].hash if seq in self._lines else ""

    def _branch(self, seq: int, where: str) -> None:
        """Abandon the lines whose entries another sealer, which did not see them, sealed again."""
        left = [self._lines.pop(at) for at in range(seq, self.report.last + 1)]
        self._abandoned |= {line.entry for line in left if line.entry}
        self.report.notes.append(f"{where}: {len(left)} lines before it were sealed again")

    def _broken(self, seq: int, where: str) -> None:
        last = self.report.last
        if self._unreadable:
            return
        if seq > last + 1:
            problem = f"lines {last + 1} to {seq - 1} of the chain are missing before it"
        elif seq == last + 1:
            problem = "the line before it was changed"
        else:
            problem = f"line {seq} of the chain comes after line {last}"
        self.report.problems.append(f"{where}: {problem}")

    def _head(self, line: Mapping[str, Any], where: str) -> None:
        content = self._opened(line["head"], HEAD, where)
        if not content:
            return
        if content["lines"] != line["seq"] - 1 or content["hash"] != line["prev"]:
            self.report.problems.append(
                f"{where}: the signed head does not match the line before it"
            )
        else:
            self.report.signed = line["seq"]

    def _checkpoint(self, line: Mapping[str, Any], where: str) -> None:
        content = self._opened(line["checkpoint"], CHECKPOINT, where)
        if content and self._begins_after == (content["lines"], content["hash"]):
            self._begins_after = (0, GENESIS)

    def _opened(self, token: Any, kind: str, where: str) -> Mapping[str, Any] | None:
        """Return the verified content, or that of an unsigned token if there are no keys."""
        if isinstance(token, dict):
            if self._verifier is None:
                return token
            self.report.problems.append(f"{where}: not signed")
            return None
        if self._verifier is None:
            self.report.problems.append(f"{where}: signed, but without keys it cannot be verified")
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
                f"the lines before line {report.first} are missing, and no checkpoint shows that"
                " retention removed them"
            )
        if self._abandoned:
            report.problems.append(
                f"{len(self._abandoned)} entries are only in an abandoned branch of the chain: was"
                " an older store restored, or did two sealers write?"
            )
        for lines, _ in sorted(self._expected):
            if lines > report.last:
                report.problems.append(
                    f"the end is missing: a signed head names line {lines}, but the last line here"
                    f" is {report.last}"
                )
            elif lines >= report.first:
                report.problems.append(
                    f"line {lines} differs from the line that a signed head names"
                )
        if report.last > report.signed:
            report.problems.append(
                f"no signed head covers lines {report.signed + 1} to {report.last}: the end was cut"
                " off, or a sealer died and none has continued yet"
            )
        return report


def _entry_digest(line: Mapping[str, Any]) -> bytes:
    """Return a digest of a line's entry, which does not depend on its place in the chain."""
    if "entry" not in line:
        return b""
    entry = [line.get("stream"), line.get("at"), line.get("request"), line["entry"]]
    return hashlib.sha256(orjson.dumps(entry)).digest()
