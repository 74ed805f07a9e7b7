"""The verdict on a run, drawn only from the journals of desk and witboost.

The desk has correlation ids, witboost has hook ids; the answers to hook calls and the callbacks
carry both, so they join the two journals.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from proxy.simulators.desk.tickets import DECISIONS
from proxy.simulators.journal import Entry, is_attempt

STATUS_OF = {"approved": "OK", "rejected": "KO", "cancelled": "KO"}
ACCEPTED_CALL = 202


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected result of a request; by default one ticket, and the status of its decision.

    `open` means that no final status was sent yet.
    """

    tickets: int = 1
    status: Literal["as decided", "OK", "KO", "open"] = "as decided"


@dataclass(frozen=True, slots=True)
class Row:
    """One request: its tickets' keys, the desk's first decision, witboost's status, callbacks."""

    correlation_id: str
    hook_id: str | None
    tickets: tuple[str, ...]
    decision: str | None
    status: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """All requests, and one sentence for each problem."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """True if there are no problems."""
        return not self.problems


@dataclass(slots=True)
class _Request:
    hooks: list[str] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    decision: str | None = None
    statuses: list[str] = field(default_factory=list)
    callback_statuses: set[str] = field(default_factory=set)
    attempts: int = 0

    def note_attempt(self, entry: Entry) -> None:
        """Count a callback of this request, and note its status and whether it was accepted."""
        self.attempts += 1
        outcome, status = entry.get("outcome"), entry.get("status")
        if entry["hook"] not in self.hooks and outcome != "unknown_hook":
            self.hooks.append(entry["hook"])
        if status in STATUS_OF.values():
            self.callback_statuses.add(entry["status"])
            if outcome == "accepted":
                self.statuses.append(entry["status"])

    def row(self, correlation_id: str) -> Row:
        """Return the row of the table."""
        hook_id, status = next(iter(self.hooks), None), next(iter(self.statuses), None)
        tickets = tuple(self.tickets)
        return Row(correlation_id, hook_id, tickets, self.decision, status, self.attempts)


def judge(
    desk: Sequence[Entry],
    witboost: Sequence[Entry],
    expected: Mapping[str, Expected] | None = None,
) -> Verdict:
    """Join the journals and find the problems; `expected` is keyed by correlation id or hook id.

    A key that is in neither journal is a problem, too: that request was lost without a trace.
    """
    requests: dict[str, _Request] = defaultdict(_Request)
    problems = list(_join_witboost(witboost, requests))
    _join_desk(desk, requests)
    expected = expected or {}
    rows = []
    for correlation_id, request in requests.items():
        row = request.row(correlation_id)
        expectation = expected.get(correlation_id) or expected.get(row.hook_id or "") or Expected()
        name = f"request {correlation_id}"
        problems += [f"{name}: {problem}" for problem in _problems_of(request, expectation)]
        rows.append(row)
    names = {name for row in rows for name in (row.correlation_id, row.hook_id)}
    problems += [f"request {name}: in neither journal" for name in expected if name not in names]
    return Verdict(tuple(rows), tuple(problems))


def _join_witboost(witboost: Sequence[Entry], requests: dict[str, _Request]) -> Iterable[str]:
    owners: dict[str, list[str]] = defaultdict(list)
    for entry in witboost:
        if entry["kind"] == "hook_call" and entry["answer"] == ACCEPTED_CALL:
            hook_id, correlation_id = entry["hook"], entry["correlation_id"]
            if correlation_id is None:
                yield f"hook {hook_id}: the 202 has no correlation id"
            elif correlation_id not in owners[hook_id]:
                owners[hook_id].append(correlation_id)
                requests[correlation_id].hooks.append(hook_id)
    for entry in filter(is_attempt, witboost):
        hook_id, owned = entry["hook"], owners[entry["hook"]]
        if entry.get("outcome") in ("unknown_hook", "invalid"):
            yield f"hook {hook_id}: callback {entry['seq']} is refused as {entry['outcome']}"
        correlation_id = entry.get("correlation_id") or (owned[-1] if owned else None)
        if owned and correlation_id not in owned:
            yield f"hook {hook_id}: called for request {correlation_id}, which is not its own"
        if correlation_id is not None:
            requests[correlation_id].note_attempt(entry)


def _join_desk(desk: Sequence[Entry], requests: dict[str, _Request]) -> None:
    for entry in desk:
        if entry["kind"] == "created":
            requests[entry["correlation_id"]].tickets.append(entry["key"])
        elif entry["kind"] == "status" and entry["status"] in DECISIONS:
            request = requests[entry["correlation_id"]]
            request.decision = request.decision or entry["status"]


def _problems_of(request: _Request, expected: Expected) -> Iterable[str]:
    if not request.hooks:
        yield "no hook call and no callback leads to it"
    if len(request.tickets) != expected.tickets:
        named = f" ({', '.join(request.tickets)})" if request.tickets else ""
        yield f"{len(request.tickets)} tickets instead of {expected.tickets}{named}"
    if expected.status == "open":
        yield from (f"status {status} although still open" for status in request.statuses)
    else:
        yield from _problems_of_status(request, expected)


def _problems_of_status(request: _Request, expected: Expected) -> Iterable[str]:
    if len(request.statuses) != 1:
        yield f"{len(request.statuses)} final statuses instead of 1"
    if len(request.callback_statuses) > 1:
        yield f"callbacks with {' and '.join(sorted(request.callback_statuses))}"
    required = STATUS_OF.get(request.decision or "")
    if expected.status != "as decided":
        required = expected.status
    elif required is None:
        yield "no decision at the desk"
    for status in request.statuses:
        if required is not None and status != required:
            yield f"status {status} instead of {required} (the desk: {request.decision})"
