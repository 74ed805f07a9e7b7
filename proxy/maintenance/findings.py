"""What is found of a request: as `doctor` says it, and what its ticket system has to say."""

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
    """What was found of one thing, in one sentence that says what to do."""

    result: Result
    about: str
    says: str


async def ticket_of(systems: Mapping[str, TicketSystem], record: Record) -> Finding:
    """Look up what the ticket system has for a request that the store forgot."""
    system = systems.get(record.system)
    if system is None:
        return Finding("note", record.id, "no ticket system is asked for it")
    try:
        if record.ticket_id:
            ticket = await system.fetch(record.ticket_id)
            says = f"its ticket {ticket.key} in {system.name} is {ticket.native_status!r}"
            return Finding("note", record.id, says)
        if not system.finds:
            says = f"{system.name} cannot be asked whether it has a ticket for it"
            return Finding("unknown", record.id, says)
        found = await system.find(record.id)
    except ProxyError as error:
        return Finding("unknown", record.id, f"its ticket cannot be looked up: {error}")
    if len(found) > 1:
        keys = ", ".join(ticket.key for ticket in found)
        return Finding("wrong", record.id, f"{system.name} has several tickets for it: {keys}")
    says = f"{system.name} has ticket {found[0].key} for it" if found else "it has no ticket"
    return Finding("note", record.id, says)


async def unknown_tickets(
    store: RequestStore, systems: Mapping[str, TicketSystem], *, since: int
) -> AsyncIterator[Finding]:
    """Name the tickets, changed since a moment (ms), that no request knows."""
    for name, system in systems.items():
        if not isinstance(system, ListsChanges):
            says = "it cannot list its tickets: any that no request knows are not seen"
            yield Finding("unknown", name, says)
            continue
        try:
            changed = await system.changes(since)
        except ProxyError as error:
            yield Finding("unknown", name, f"its tickets cannot be listed: {error}")
            continue
        strangers = [it for it in changed if not await store.find(name, [it])]
        for ticket in strangers:
            says = (
                f"ticket {ticket} is ours, and no request knows it: close it, or attach it to its"
                " request (`requests attach`)"
            )
            yield Finding("wrong", name, says)
        if not strangers:
            yield Finding("ok", name, f"all {len(changed)} tickets listed belong to requests")


def went_on(found: Record, known: Record) -> Finding:
    """Say whether a request that went on from an older state came to the same."""
    differences = [
        f"{what} {had!r} became {has!r}"
        for what, had, has in (
            ("ticket", known.ticket_id, found.ticket_id),
            ("decision", known.decision, found.decision),
        )
        if had and has and had != has
    ]
    if differences:
        says = f"it went on from an older state, and {'; '.join(differences)}: look at both"
        return Finding("wrong", found.id, says)
    return Finding("note", found.id, f"it went on from an older state, and is {found.state}")
