"""What store, audit and ticket systems know of the same requests, compared; and mended where safe.

After a loss (an append-only file without its end, an older snapshot) the store alone cannot tell
what is missing. The audit's files can, up to the last sealed line; ticket systems can for tickets.
What nobody can tell is said to be unknown, never to be fine.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from proxy.audit.recall import Remembered
from proxy.audit.verify import Report
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import Entry, Record, State
from proxy.domain.repairs import Restored, sent_again
from proxy.domain.values import replace
from proxy.errors import ConfigurationError, ProxyError, Stale, Superseded
from proxy.store.audit import AuditStreams
from proxy.store.codec import history_entry
from proxy.store.indices import compare_indices
from proxy.store.redis import RedisStore
from proxy.store.restoring import raw_history, restore
from proxy.tickets.port import ListsChanges, TicketSystem

Result = Literal["ok", "note", "wrong", "unknown", "repaired"]

_PAGE: Final = 500
_BY: Final = "doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing, in one sentence that says what to do."""

    result: Result
    about: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is compared: the store, what the audit remembers, the ticket systems by name.

    `report` is the audit's own verification, None where no files are here; `since` is the moment
    (ms) from which tickets are looked for that no request knows, `retention` how long finished
    requests are kept (ms).
    """

    store: RedisStore
    streams: AuditStreams
    remembered: Mapping[str, Remembered]
    report: Report | None
    systems: Mapping[str, TicketSystem]
    since: int
    retention: int


class Doctor:
    """Compares, explains, and with `repair` mends what is safe to mend."""

    def __init__(self, patient: Patient, *, repair: bool) -> None:
        self._it = patient
        self._repair = repair
        self._lost = False  # whether the store forgot anything

    async def examine(self) -> AsyncIterator[Finding]:
        """Yield every finding."""
        async for finding in self._audit():
            yield finding
        for remembered in self._it.remembered.values():
            if not remembered.expired:
                async for finding in self._request(remembered):
                    yield finding
        async for finding in self._indices():
            yield finding
        async for finding in self._unsealed():
            yield finding
        for name, system in self._it.systems.items():
            async for finding in self._unknown_tickets(name, system):
                yield finding
        if self._lost:
            yield Finding(
                "unknown",
                "the last moments before the loss",
                "what was accepted and lost before it was sealed (the audit lags by about a second)"
                " is known to nobody here: witboost still waits for such requests, and they have"
                " to be sent again from there",
            )

    # -- the audit itself ----------------------------------------------------------------------

    async def _audit(self) -> AsyncIterator[Finding]:
        report = self._it.report
        if report is None:
            says = "there are no files here, so what the store may have lost cannot be told"
            yield Finding("unknown", "audit", says)
            return
        for problem in report.problems:
            yield Finding("wrong", "audit", problem)
        sealed = await self._it.streams.sealed()
        if sealed.lines > report.last:
            yield Finding(
                "wrong",
                "audit",
                f"the store knows of {sealed.lines} lines, and the files end with line"
                f" {report.last}: their end was cut off, or other files hold it",
            )
        elif sealed.lines < report.last:
            self._lost = True
            yield Finding(
                "wrong",
                "store",
                f"it knows of {sealed.lines} sealed lines, and the files hold {report.last}: it"
                " forgot what happened after that",
            )
        elif not report.problems:
            yield Finding("ok", "audit", f"whole, {report.last} lines")

    # -- requests that the audit knows ---------------------------------------------------------

    async def _request(self, remembered: Remembered) -> AsyncIterator[Finding]:
        store = self._it.store
        try:
            found = await store.load(remembered.id)
        except ConfigurationError as error:
            yield Finding("wrong", remembered.id, f"it cannot be read: {error}")
            return
        kept = await raw_history(store, remembered.id)
        if found and (not remembered.history or remembered.history[-1] in kept):
            # the store knows all that the audit knows
            if sent_again(orjson.loads(line)["event"] for line in kept):
                # frozen between its last check and the sending, a process makes a second ticket
                finding = await self._ticket_of(replace(found.record, ticket_id=""))
                if finding.result != "note":
                    yield finding
            return
        known = self._known(remembered)
        if isinstance(known, Finding):
            yield known
            return
        self._lost = True
        if found and set(kept) - set(remembered.history):
            yield _went_on(found.record, known.record)
            return
        says = (
            f"the store has it as {found.record.state}, and the audit as {known.record.state}"
            if found
            else f"the store lost it; the audit has it as {known.record.state}"
        )
        async for finding in self._mend(found, known, remembered, says):
            yield finding
        if known.record.decision and not remembered.told:
            yield Finding(
                "unknown",
                remembered.id,
                "whether witboost was told its decision: that is sent again, and a 409 will say"
                " that it was",
            )

    def _known(self, remembered: Remembered) -> Entry | Finding:
        """Return the request as the audit has it, or why it cannot be read."""
        try:
            known = remembered.entry(self._it.store)
        except ConfigurationError as error:
            return Finding("wrong", remembered.id, f"the store lost it, and {error}")
        if known is None:
            says = "the store lost it, and the audit holds too little to rebuild it"
            return Finding("wrong", remembered.id, says)
        return known

    async def _mend(
        self, found: Entry | None, known: Entry, remembered: Remembered, says: str
    ) -> AsyncIterator[Finding]:
        record = known.record
        yield await self._ticket_of(record)
        if not self._repair:
            yield Finding("wrong", record.id, f"{says}. --repair writes that back")
            return
        store = self._it.store
        event = Restored(at=await store.now(), by=_BY, reason=says)
        after = advance_entry(known, event)
        history = [*remembered.history[-199:], history_entry(event, after.record)]
        try:
            await restore(store, found, after, history, retention=self._it.retention)
        except Superseded:
            yield Finding("wrong", record.id, f"{says}; a newer request has its URL by now")
        except Stale:
            yield Finding("wrong", record.id, f"{says}; it is changing just now: run this again")
        else:
            yield Finding(
                "repaired", record.id, f"{says}. It was written back and is {after.record.state}"
            )

    # -- the store itself ----------------------------------------------------------------------

    async def _indices(self) -> AsyncIterator[Finding]:
        """Compare every index with the records, which it is made from."""
        it = self._it
        async for found in compare_indices(it.store, mend=self._repair, retention=it.retention):
            if not found.mendable:
                yield Finding("wrong", found.about, found.says)
            elif self._repair:
                yield Finding("repaired", found.about, f"{found.says}. It was put right")
            else:
                yield Finding("wrong", found.about, f"{found.says}. --repair puts that right")

    # -- ticket systems ------------------------------------------------------------------------

    async def _ticket_of(self, record: Record) -> Finding:
        """Look up what the ticket system has for a request that the store forgot."""
        system = self._it.systems.get(record.system)
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

    async def _unknown_tickets(self, name: str, system: TicketSystem) -> AsyncIterator[Finding]:
        if not isinstance(system, ListsChanges):
            says = "it cannot list its tickets: any that no request knows are not seen"
            yield Finding("unknown", name, says)
            return
        try:
            changed = await system.changes(self._it.since)
        except ProxyError as error:
            yield Finding("unknown", name, f"its tickets cannot be listed: {error}")
            return
        strangers = [it for it in changed if not await self._it.store.find(name, [it])]
        for ticket in strangers:
            says = (
                f"ticket {ticket} is ours, and no request knows it: close it, or attach it to its"
                " request (`requests attach`)"
            )
            yield Finding("wrong", name, says)
        if not strangers:
            yield Finding("ok", name, f"all {len(changed)} tickets listed belong to requests")

    # -- requests that the audit does not know -------------------------------------------------

    async def _unsealed(self) -> AsyncIterator[Finding]:
        """Compare the other way round: every request of the store must be in the audit."""
        waiting = await self._it.streams.unsealed({}, limit=10_000)
        known = {*self._it.remembered, *(entry.request for entry in waiting)}
        strangers = [it async for it in self._stored() if it not in known]
        if strangers:
            few = ", ".join(strangers[:5])
            says = (
                f"{len(strangers)} requests are in the store and not in these files ({few}): were"
                " they admitted before there was an audit, are files elsewhere or over their"
                " retention, or were lines removed?"
            )
            yield Finding("unknown", "audit", says)

    async def _stored(self) -> AsyncIterator[str]:
        for tag in self._it.store.keys.tags():
            for state in State:
                at = 0
                while page := await self._page(f"{tag}:s:{state}", at):
                    for member in page:
                        yield member.decode()
                    at += len(page)

    async def _page(self, key: str, at: int) -> Sequence[bytes]:
        page: Sequence[bytes] = await self._it.store.batcher.command(
            "ZRANGE", key, at, at + _PAGE - 1
        )
        return page


def _went_on(found: Record, known: Record) -> Finding:
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
