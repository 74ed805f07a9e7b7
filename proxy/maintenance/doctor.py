"""What store, audit and ticket systems know of the same requests, compared; and mended where safe.

After a loss (an append-only file without its end, an older snapshot) the store alone cannot tell
what is missing. The audit's files can, up to the last sealed line; ticket systems can for tickets.
What nobody can tell is said to be unknown, never to be fine.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from proxy.audit.replay import AuditedRequest
from proxy.audit.verify import Report
from proxy.domain.events.recovery import Restored, sent_again
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import State, StoredRequest
from proxy.domain.replace import replace
from proxy.errors import ConfigurationError, StaleError, SupersededError
from proxy.maintenance import Progress, no_progress
from proxy.maintenance.findings import Finding, ticket_of, unknown_tickets, went_on
from proxy.store.audit_streams import AuditStreams
from proxy.store.codec import history_entry
from proxy.store.index_check import compare_indices
from proxy.store.requests import RequestStore
from proxy.store.restore import bare, raw_history, restore
from proxy.tickets.port import TicketSystem

_PAGE: Final = 500
_BY: Final = "doctor"
_GONE: Final = "its payload is gone, that is what was asked for, and where its status goes"
_UNKNOWN: Final = (
    "what was asked for, and where witboost waits for its status, is known to nobody here: it has"
    " to be sent again from there"
)
_UNSEALED: Final = (
    "what was accepted and lost before it was sealed (the audit lags by about a second) leaves no"
    " trace here: witboost still waits for such requests, and they have to be sent again from there"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorInputs:
    """What is compared: the store, what the audit remembers, the ticket systems by name.

    `report` is the audit's own verification, None where no files are here; `since` is the moment
    (ms) from which tickets are looked for that no request knows, `retention` how long finished
    requests are kept (ms).
    """

    store: RequestStore
    streams: AuditStreams
    remembered: Mapping[str, AuditedRequest]
    report: Report | None
    systems: Mapping[str, TicketSystem]
    since: int
    retention: int


class Doctor:
    """Compares, explains, and with `repair` mends what is safe to mend."""

    def __init__(
        self, patient: DoctorInputs, *, repair: bool, progress: Progress = no_progress
    ) -> None:
        self._it = patient
        self._repair = repair
        self._progress = progress
        self._done = self._total = 0

    async def examine(self) -> AsyncIterator[Finding]:
        """Yield every finding; a step of the progress is one request of the audit or the store."""
        self._total = len(self._it.remembered) + sum((await self._it.store.counts()).values())
        async for finding in self._audit():
            yield finding
        for remembered in self._it.remembered.values():
            self._step()
            if not remembered.expired:
                async for finding in self._request(remembered):
                    yield finding
        async for finding in self._indices():
            yield finding
        async for finding in self._payloads():
            yield finding
        async for finding in self._unsealed():
            yield finding
        it = self._it
        async for finding in unknown_tickets(it.store, it.systems, since=it.since):
            yield finding
        yield Finding("unknown", "the last moments before a loss", _UNSEALED)

    def _step(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)

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
            yield Finding(
                "wrong",
                "store",
                f"it knows of {sealed.lines} sealed lines, and the files hold {report.last}: it"
                " forgot what happened after that",
            )
        elif not report.problems:
            yield Finding("ok", "audit", f"whole, {report.last} lines")

    # -- requests that the audit knows ---------------------------------------------------------

    async def _request(self, remembered: AuditedRequest) -> AsyncIterator[Finding]:
        store = self._it.store
        try:
            found = await store.load(remembered.id)
        except ConfigurationError:
            return  # that is told of every request of the store
        kept = await raw_history(store, remembered.id)
        if found and (not remembered.history or remembered.history[-1] in kept):
            # the store knows all that the audit knows
            if sent_again(orjson.loads(line)["event"] for line in kept):
                # frozen between its last check and the sending, a process makes a second ticket
                finding = await ticket_of(self._it.systems, replace(found.record, ticket_id=""))
                if finding.result != "note":
                    yield finding
            return
        known = self._known(remembered)
        if isinstance(known, str):
            yield Finding("wrong", remembered.id, f"the store lost it, and {known}")
            return
        if found and set(kept) - set(remembered.history):
            yield went_on(found.record, known.record)
            return
        says = (
            f"the store has it as {found.record.state}, and the audit as {known.record.state}"
            if found
            else f"the store lost it; the audit has it as {known.record.state}"
        )
        yield await ticket_of(self._it.systems, known.record)
        yield await self._write_back(found, known, remembered.history, says)
        if known.record.decision and not remembered.callback_accepted:
            yield Finding(
                "unknown",
                remembered.id,
                "whether witboost was told its decision: that is sent again, and a 409 will say"
                " that it was",
            )

    def _known(self, remembered: AuditedRequest) -> StoredRequest | str:
        """Return the request as the audit has it, or why there is none."""
        try:
            known = remembered.entry(self._it.store)
        except ConfigurationError as error:
            return str(error)
        return known or "the audit holds too little to rebuild it"

    async def _write_back(
        self, found: StoredRequest | None, known: StoredRequest, history: Sequence[bytes], says: str
    ) -> Finding:
        """Put what is known in place of what was found, where that is wanted."""
        record = known.record
        if not self._repair:
            return Finding("wrong", record.id, f"{says}. --repair writes that back")
        store = self._it.store
        event = Restored(at=await store.now(), by=_BY, reason=says)
        after = advance_entry(known, event)
        lines = [*history[-199:], history_entry(event, after.record)]
        try:
            await restore(store, found, after, lines, retention=self._it.retention)
        except SupersededError:
            return Finding("wrong", record.id, f"{says}; a newer request has its URL by now")
        except StaleError:
            return Finding("wrong", record.id, f"{says}; it is changing just now: run this again")
        says = f"{says}. It was written back and is {after.record.state}"
        return Finding("repaired", record.id, says)

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

    async def _payloads(self) -> AsyncIterator[Finding]:
        """Look whether each request of the store can be read, with what was asked for."""
        for each in [it async for it in self._stored()]:
            self._step()
            try:
                found = await self._it.store.load(each)
            except ConfigurationError as error:
                says = f"it cannot be read: {error}"
            else:
                says = _GONE if found and not found.payload else ""
            if says:
                async for finding in self._payload(each, says):
                    yield finding

    async def _payload(self, correlation_id: str, says: str) -> AsyncIterator[Finding]:
        """Put back the payload alone: of the rest, the store may know more than the audit."""
        store = self._it.store
        remembered = self._it.remembered.get(correlation_id)
        known = self._known(remembered) if remembered else "it is not in these files of the audit"
        if isinstance(known, str):
            yield Finding("wrong", correlation_id, f"{says}; and {known}")
            if says == _GONE:
                yield Finding("unknown", correlation_id, _UNKNOWN)
            return
        try:
            found = await bare(store, correlation_id)
        except ConfigurationError:  # it is not the payload alone
            yield Finding("wrong", correlation_id, says)
            return
        if found is not None:  # or it has just been removed
            whole = replace(found, payload=known.payload)
            history = await raw_history(store, correlation_id)
            yield await self._write_back(found, whole, history, says)

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
