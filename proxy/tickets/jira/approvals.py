"""What the approvals of a request say together, and who said it: pure.

A request has one approval for each approval step that its workflow has reached, and each has a
`finalDecision`: approved, declined or pending. No approvals are no approval.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.domain.models import Ticket
from proxy.domain.text import rfc3339
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.jira.declaration import Approvals

APPROVED: Final = "approved"
DECLINED: Final = "declined"
PENDING: Final = "pending"
LONGEST: Final = 255
_PERSON: Final = ("displayName", "emailAddress", "accountId", "name", "key")

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word that all approvals make, and those that say it, the newest last."""

    word: str
    approvals: Sequence[Tree] = ()


def verdict(approvals: Sequence[Tree], rule: Approvals) -> Verdict:
    """Return what the approvals say together; a word that we do not know wins over all others."""
    ordered = sorted(approvals, key=lambda it: (_moment(it, "createdDate"), _number(it)))
    if rule.combine == "last":
        ordered = ordered[-1:]
    said: dict[str, list[Tree]] = {}
    for each in ordered:
        said.setdefault(scalar_text(each.get("finalDecision"), LONGEST), []).append(each)
    for word, those in said.items():
        if word not in {APPROVED, DECLINED, PENDING}:
            return Verdict(word or "(none)", those)
    if DECLINED in said:
        return Verdict(DECLINED, said[DECLINED])
    approved = said.get(APPROVED, [])
    enough = rule.combine == "any" or (PENDING not in said and len(approvals) >= rule.steps)
    return Verdict(APPROVED, approved) if approved and enough else Verdict(PENDING)


def with_deciders(ticket: Ticket, found: Verdict) -> Ticket:
    """Return the ticket with who decided, and when the last of them did."""
    those = sorted(found.approvals, key=lambda it: _moment(it, "completedDate"))
    persons = [
        names_of_person(row.get("approver"))
        for each in those
        for row in _objects(each.get("approvers"))
        if row.get("approverDecision") == found.word
    ]
    moment = _moment(those[-1], "completedDate") if those else 0
    return replace(ticket, **decider_fields(persons), decided_at=rfc3339(moment) if moment else "")


def decider_fields(persons: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the fields of a ticket that say who decided; of several persons the last is shown."""
    shown = [person[0] for person in persons if person]
    names = tuple(dict.fromkeys(name for person in persons for name in person))
    return {"decided_by": shown[-1] if shown else "", "deciders": names}


def names_of_person(user: Any) -> list[str]:
    """Return all the ways in which a site names a user, the one that people read first."""
    if not isinstance(user, dict):
        return []
    said = (scalar_text(user.get(part), LONGEST).strip() for part in _PERSON)
    return list(dict.fromkeys(filter(None, said)))


def _objects(tree: Any) -> Iterator[Tree]:
    if isinstance(tree, list):
        yield from (item for item in tree if isinstance(item, dict))


def _moment(tree: Tree, name: str) -> int:
    """Return a date in milliseconds since the epoch; 0 where there is none."""
    date = tree.get(name)
    moment = date.get("epochMillis") if isinstance(date, dict) else None
    return moment if isinstance(moment, int) and not isinstance(moment, bool) else 0


def _number(approval: Tree) -> int:
    text = scalar_text(approval.get("id"), LONGEST)
    return int(text) if text.isdecimal() else 0
