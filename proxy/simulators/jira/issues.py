"""The issues of a simulated Jira site, in memory: their workflow, approvals and history."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from proxy.domain.clock import Clock

TEXT_FIELD: Final = "customfield_10050"
"""A text field of one line, for the correlation id."""

WORKFLOW: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "Open": ("new", {"Ask for approval": "Waiting for approval", "Cancel request": "Canceled"}),
    "Waiting for approval": (
        "indeterminate",
        {"Approve": "In progress", "Decline": "Declined", "Cancel request": "Canceled"},
    ),
    "In progress": ("indeterminate", {"Resolve": "Done", "Cancel request": "Canceled"}),
    "Done": ("done", {}),
    "Declined": ("done", {}),
    "Canceled": ("done", {}),
    "Escalated": ("done", {}),
}
"""For each status its category, and the transitions from it."""

AWAITING_APPROVAL: Final = "Waiting for approval"
"""The status that starts an approval."""

RESOLUTIONS: Final = {"Done": "Done", "Declined": "Declined", "Canceled": "Won't do"}

Approval = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IssueState:
    """The part of an issue that can change; `updated` is the site's time in milliseconds."""

    key: str
    status: str
    fields: Mapping[str, Any]
    updated: int
    resolution: str = ""
    approvals: tuple[Approval, ...] = ()


@dataclass(slots=True)
class Issue:
    """One issue; `received_at` is its creation by our clock, `created` by the site's clock."""

    id: str
    received_at: int
    created: int
    request: Mapping[str, str] | None
    reporter: str
    state: IssueState
    previous_state: IssueState
    properties: dict[str, Any] = field(default_factory=dict)
    histories: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)


class Issues:
    """All issues by id; `skew` is the lead of the site's clock in milliseconds.

    `steps` is the number of approvals that a request needs, one after the other.
    """

    def __init__(self, clock: Clock, skew: int, *, initial: str, steps: int) -> None:
        self.initial = initial
        self.steps = steps
        self._clock = clock
        self._skew = skew
        self._issues: dict[str, Issue] = {}
        self._keys: dict[str, str] = {}
        self._count = 10_000

    def __iter__(self) -> Iterator[Issue]:
        return iter(self._issues.values())

    def get(self, ref: str) -> Issue | None:
        """Return an issue by its id, its key or a former key."""
        return self._issues.get(self._keys.get(ref.upper(), ref))

    def time(self) -> int:
        """Return the site's time in milliseconds."""
        return self._clock.now() + self._skew

    def create(
        self,
        project: str,
        fields: Mapping[str, Any],
        *,
        reporter: str,
        request: Mapping[str, str] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> Issue:
        """Add an issue; a request that starts in the approval status gets its first approval."""
        self._count += 1
        number, now = str(self._count), self.time()
        shape = IssueState(f"{project}-{self._count - 10_000}", self.initial, dict(fields), now)
        made = self._clock.now()
        issue = Issue(number, made, now, request, reporter, shape, shape, dict(properties or {}))
        self._issues[number] = issue
        self._keys[shape.key] = number
        if self.initial == AWAITING_APPROVAL:
            self._request_approval(issue)
        return issue

    def delete(self, issue: Issue) -> None:
        """Remove an issue."""
        del self._issues[issue.id]

    def move(self, issue: Issue, project: str) -> None:
        """Move an issue to another project: it gets a new key, and the old one still works."""
        key = f"{project}-{self._count - 10_000 + 500}"
        self._keys[key] = issue.id
        self.change(issue, by="olga", key=key)

    def edit(self, issue: Issue, fields: Mapping[str, Any], *, by: str) -> None:
        """Change fields of an issue, as a person does."""
        self.change(issue, by=by, fields={**issue.state.fields, **fields})

    def transition(self, issue: Issue, status: str, *, by: str) -> None:
        """Set the status of an issue, and the resolution that belongs to it."""
        entry = {"status": (issue.state.status, status)}
        resolution = RESOLUTIONS.get(status, "")
        if resolution != issue.state.resolution:
            entry["resolution"] = (issue.state.resolution, resolution)
        self.change(issue, by=by, changes=entry, status=status, resolution=resolution)
        if status == AWAITING_APPROVAL:
            self._request_approval(issue)

    def answer_approval(self, issue: Issue, approval: str, decision: str, *, by: str) -> bool:
        """Answer an approval, `approved` or `declined`; False if it was answered before."""
        pending = next((item for item in issue.state.approvals if item["id"] == approval), None)
        if pending is None or pending["finalDecision"] != "pending":
            return False
        before = issue.state
        answered = {
            **pending,
            "finalDecision": decision,
            "approvers": [{"approver": by, "approverDecision": decision}],
            "completed": self.time(),
        }
        kept = tuple(answered if item is pending else item for item in issue.state.approvals)
        self.change(issue, by=by, approvals=kept)
        if decision == "declined":
            self.transition(issue, "Declined", by=by)
        elif len(kept) < self.steps:
            self._request_approval(issue)
        else:
            self.transition(issue, "In progress", by=by)
        issue.previous_state = before  # a stale read treats all of this as one change
        return True

    def change(
        self,
        issue: Issue,
        *,
        by: str,
        changes: Mapping[str, tuple[str, str]] | None = None,
        **shape: Any,
    ) -> None:
        """Change an issue; `changes` go into its history as pairs of old and new value."""
        issue.previous_state = issue.state
        issue.state = replace(issue.state, **{"updated": self.time(), **shape})
        if changes:
            issue.histories.append({"by": by, "at": self.time(), "items": dict(changes)})

    def _request_approval(self, issue: Issue) -> None:
        if issue.request is None:
            return
        approval = {
            "id": str(len(issue.state.approvals) + 1),
            "name": "Waiting for approval",
            "finalDecision": "pending",
            "approvers": [{"approver": "olga", "approverDecision": "pending"}],
            "created": self.time(),
            "completed": None,
        }
        issue.state = replace(issue.state, approvals=(*issue.state.approvals, approval))
