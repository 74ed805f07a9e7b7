"""The doctor's findings, and what ticket systems contribute to them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal

from proxy.domain.models import Record
from proxy.errors import ProxyError
from proxy.store.requests import RequestStore
from proxy.tickets.port import ListsChanges, TicketSystem

Result = Literal["ok", "note", "wrong", "unknown", "repaired"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of the doctor."""

    result: Result
    """How serious it is, and if it was repaired."""
    about: str
    """A correlation id, a ticket system, `audit` or `store`."""
    message: str
    """The problem and what to do, in one sentence."""


async def ticket_of(systems: Mapping[str, TicketSystem], record: Record) -> Finding:
    """Look up the ticket of a request that the store lost."""
    system = systems.get(record.system)
    if system is None:
        return Finding("note", record.id, "its route has no ticket system")
    try:
        if record.ticket_id:
            ticket = await system.fetch(record.ticket_id)
            message = (
                f"its ticket {ticket.key} in {system.name} has status {ticket.native_status!r}"
            )
            return Finding("note", record.id, message)
        if not system.finds:
            message = f"{system.name} cannot be searched for a ticket of it"
            return Finding("unknown", record.id, message)
        tickets = await system.find(record.id)
    except ProxyError as error:
        return Finding("unknown", record.id, f"its ticket cannot be looked up: {error}")
    if len(tickets) > 1:
        keys = ", ".join(ticket.key for ticket in tickets)
        return Finding("wrong", record.id, f"{system.name} has several tickets for it: {keys}")
    message = f"its ticket in {system.name} is {tickets[0].key}" if tickets else "it has no ticket"
    return Finding("note", record.id, message)


async def unknown_tickets(
    store: RequestStore, systems: Mapping[str, TicketSystem], *, since: int
) -> AsyncIterator[Finding]:
    """Report the tickets changed since then (ms since the epoch) that belong to no request."""
    for name, system in systems.items():
        if not isinstance(system, ListsChanges):
            message = "it cannot list its tickets, so tickets without a request are not detected"
            yield Finding("unknown", name, message)
            continue
        try:
            changed = await system.changes(since)
        except ProxyError as error:
            yield Finding("unknown", name, f"its tickets cannot be listed: {error}")
            continue
        unmatched = [ticket for ticket in changed if not await store.find(name, [ticket])]
        for ticket in unmatched:
            message = (
                f"ticket {ticket} was created by us, but belongs to no request: close it, or attach"
                " it to its request (`requests attach`)"
            )
            yield Finding("wrong", name, message)
        if not unmatched:
            yield Finding("ok", name, f"all {len(changed)} tickets listed belong to requests")


def compare_progress(stored: Record, audited: Record) -> Finding:
    """Report if a request that continued from an older state came to another result."""
    differences = [
        f"{name} {old!r} became {new!r}"
        for name, old, new in (
            ("ticket", audited.ticket_id, stored.ticket_id),
            ("decision", audited.decision, stored.decision),
        )
        if old and new and old != new
    ]
    if differences:
        message = f"it continued from an older state, and {'; '.join(differences)}: check both"
        return Finding("wrong", stored.id, message)
    message = f"it continued from an older state; its state is {stored.state}"
    return Finding("note", stored.id, message)
