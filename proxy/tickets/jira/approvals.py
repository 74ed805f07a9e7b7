"""Jira approvals: the combined decision of a request's approvals, and who made it; pure.

A request has one approval for each approval step that its workflow has reached, each with a
`finalDecision`: approved, declined or pending. Without approvals a request is never approved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.domain.models import Ticket
from proxy.domain.timestamps import rfc3339_seconds
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.jira.declaration import Approvals
from proxy.tickets.json_api import Tree, nested, objects_of

APPROVED: Final = "approved"
DECLINED: Final = "declined"
PENDING: Final = "pending"
LONGEST: Final = 255
_PERSON: Final = ("displayName", "emailAddress", "accountId", "name", "key")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The combined decision of all approvals."""

    word: str
    """`approved`, `declined`, `pending`, or a word that we do not know."""
    approvals: Sequence[Tree] = ()
    """The approvals with this decision, the newest last."""


def verdict(approvals: Sequence[Tree], rule: Approvals) -> Verdict:
    """Return the combined decision; a word that we do not know takes precedence over all others."""
    ordered = sorted(
        approvals, key=lambda approval: (_moment(approval, "createdDate"), _number(approval))
    )
    if rule.combine == "last":
        ordered = ordered[-1:]
    by_word: dict[str, list[Tree]] = {}
    for approval in ordered:
        by_word.setdefault(scalar_text(approval.get("finalDecision"), LONGEST), []).append(approval)
    for word, same in by_word.items():
        if word not in {APPROVED, DECLINED, PENDING}:
            return Verdict(word or "(none)", same)
    if DECLINED in by_word:
        return Verdict(DECLINED, by_word[DECLINED])
    approved = by_word.get(APPROVED, [])
    enough = rule.combine == "any" or (PENDING not in by_word and len(approvals) >= rule.steps)
    return Verdict(APPROVED, approved) if approved and enough else Verdict(PENDING)


def with_deciders(ticket: Ticket, result: Verdict) -> Ticket:
    """Return the ticket with the people who decided, and the time of the last decision."""
    approvals = sorted(result.approvals, key=lambda approval: _moment(approval, "completedDate"))
    persons = [
        names_of_person(row.get("approver"))
        for approval in approvals
        for row in objects_of(approval.get("approvers"))
        if row.get("approverDecision") == result.word
    ]
    moment = _moment(approvals[-1], "completedDate") if approvals else 0
    return replace(
        ticket, **decider_fields(persons), decided_at=rfc3339_seconds(moment) if moment else ""
    )


def decider_fields(persons: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the fields of a ticket for who decided; `decided_by` is the last of several people."""
    first_names = [person[0] for person in persons if person]
    names = tuple(dict.fromkeys(name for person in persons for name in person))
    return {"decided_by": first_names[-1] if first_names else "", "deciders": names}


def names_of_person(user: Any) -> list[str]:
    """Return all names that a site has for a user, the one that people read first."""
    if not isinstance(user, dict):
        return []
    names = (scalar_text(user.get(part), LONGEST).strip() for part in _PERSON)
    return list(dict.fromkeys(filter(None, names)))


def _moment(tree: Tree, name: str) -> int:
    """Return a date in milliseconds since the epoch; 0 if there is none."""
    moment = nested(tree, name, "epochMillis")
    return moment if isinstance(moment, int) and not isinstance(moment, bool) else 0


def _number(approval: Tree) -> int:
    text = scalar_text(approval.get("id"), LONGEST)
    return int(text) if text.isdecimal() else 0
