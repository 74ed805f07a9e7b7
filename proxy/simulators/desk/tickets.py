"""The desk's tickets, in memory: the fields of each, now and before its last change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

DECISIONS = frozenset({"approved", "rejected", "cancelled"})
LONGEST_TITLE = 120
FIRST_ID = 1001


@dataclass(slots=True)
class Ticket:
    """One ticket; `created` is in milliseconds since the epoch."""

    id: str
    correlation_id: str
    created: int
    fields: dict[str, Any]
    previous_fields: dict[str, Any]
    comments: list[dict[str, Any]] = field(default_factory=list)


def iso(milliseconds: int) -> str:
    """Return a point in time in RFC 3339, in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def validation_error(fields: Mapping[str, Any]) -> str | None:
    """Return the error in the fields of a new ticket; None if they are valid."""
    for name in ("title", "correlation_id"):
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            return f"{name} is missing"
    if len(fields["title"]) > LONGEST_TITLE:
        return f"title is longer than {LONGEST_TITLE} characters"
    if not isinstance(fields.get("description", ""), str):
        return "description is not a string"
    return None


class Tickets:
    """All tickets, by id, by key and by correlation id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Ticket] = {}
        self._by_correlation_id: dict[str, list[Ticket]] = {}
        self._by_change: dict[str, Ticket] = {}  # the last change comes last

    def add(self, fields: Mapping[str, Any], *, pages: str, now: int) -> Ticket:
        """Add a new ticket; `pages` is the URL of the tickets' web pages."""
        number = len(self._by_id)
        ticket_id = str(FIRST_ID + number)
        initial = {
            **fields,
            "id": ticket_id,
            "key": f"DESK-{number + 1}",
            "url": f"{pages}/{ticket_id}",
            "status": "new",
            "created": iso(now),
            "updated": iso(now),
            "decided_by": None,
            "decided_by_email": None,
            "decision_comment": None,
            "decided_at": None,
        }
        ticket = Ticket(ticket_id, fields["correlation_id"], now, initial, initial)
        self._by_id[ticket_id] = self._by_change[ticket_id] = ticket
        self._by_correlation_id.setdefault(ticket.correlation_id, []).append(ticket)
        return ticket

    def change(self, ticket: Ticket, status: str, *, by: str, comment: str, now: int) -> None:
        """Move a ticket to another status; a decision also says who decided, why and when."""
        changes: dict[str, Any] = {"status": status, "updated": iso(now)}
        if status in DECISIONS:
            email = by if "@" in by else f"{by}@company.com"
            changes |= {"decided_by": by, "decided_by_email": email}
            changes |= {"decision_comment": comment, "decided_at": iso(now)}
        ticket.previous_fields = ticket.fields
        ticket.fields = {**ticket.fields, **changes}
        self._by_change[ticket.id] = self._by_change.pop(ticket.id)

    def get(self, name: str) -> Ticket | None:
        """Return a ticket by its id or its key."""
        number = name.removeprefix("DESK-")
        if number != name and number.isdecimal():
            name = str(FIRST_ID + int(number) - 1)
        return self._by_id.get(name)

    def with_correlation_id(self, correlation_id: str) -> Sequence[Ticket]:
        """Return the tickets that carry a correlation id, oldest first."""
        return self._by_correlation_id.get(correlation_id, ())

    def changed(self, since: str) -> list[dict[str, Any]]:
        """Return the tickets changed at or after a time (as `iso` writes it), the newest first."""
        newest = (ticket.fields for ticket in reversed(self._by_change.values()))
        return list(takewhile(lambda fields: fields["updated"] >= since, newest))

    def all(self) -> list[dict[str, Any]]:
        """Return the fields of every ticket, oldest first."""
        return [ticket.fields for ticket in self._by_id.values()]
