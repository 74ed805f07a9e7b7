"""The doctor: compares store, audit and ticket systems, and repairs what is safe to repair.

After a loss (an append-only file without its end, an older snapshot) the store alone does not show
what is missing. The audit's files do, up to the last sealed line; ticket systems do for tickets.
What nothing shows is reported as unknown, never as fine.
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
from proxy.maintenance.findings import Finding, compare_progress, ticket_of, unknown_tickets
from proxy.store.audit_streams import AuditStreams
from proxy.store.codec import history_entry
from proxy.store.index_check import compare_indices
from proxy.store.requests import RequestStore
from proxy.store.restore import load_without_payload, raw_history, restore
from proxy.tickets.port import TicketSystem

_PAGE: Final = 500
_BY: Final = "doctor"
_GONE: Final = "its payload is gone: what was asked for, and where its status goes"
_LOST: Final = (
    "what was asked for, and where witboost expects the status, cannot be recovered: submit the"
    " request again in witboost"
)
_UNSEALED: Final = (
    "requests that were accepted and lost before the audit was sealed (about a second) leave no"
    " trace here: witboost still waits for them, so submit those again in witboost"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorInputs:
    """Everything that the doctor compares."""

    store: RequestStore
    """The requests."""
    streams: AuditStreams
    """The audit entries that are not sealed yet."""
    audited: Mapping[str, AuditedRequest]
    """The requests of the audit's files, by correlation id."""
    report: Report | None
    """The verification of the audit's files; None without files."""
    systems: Mapping[str, TicketSystem]
    """The ticket systems by name."""
    since: int
    """Tickets changed since then (ms since the epoch) must belong to a request."""
    retention: int
    """How long finished requests are kept, in ms."""


class Doctor:
    """Yields findings; with `repair`, it also repairs what is safe to repair."""

    def __init__(
        self, inputs: DoctorInputs, *, repair: bool, progress: Progress = no_progress
    ) -> None:
        self._in = inputs
        self._store = inputs.store
        self._repair = repair
        self._progress = progress
        self._done = self._total = 0

    async def examine(self) -> AsyncIterator[Finding]:
        """Yield every finding; a step of the progress is one request of the audit or the store."""
        self._total = len(self._in.audited) + sum((await self._store.counts()).values())
        async for finding in self._audit():
            yield finding
        for audited in self._in.audited.values():
            self._step()
            if not audited.expired:
                async for finding in self._request(audited):
                    yield finding
        async for finding in self._indices():
            yield finding
        async for finding in self._payloads():
            yield finding
        async for finding in self._not_audited():
            yield finding
        async for finding in unknown_tickets(self._store, self._in.systems, since=self._in.since):
            yield finding
        yield Finding("unknown", "the last moments before a loss", _UNSEALED)

    def _step(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)

    # -- the audit itself ----------------------------------------------------------------------

    async def _audit(self) -> AsyncIterator[Finding]:
        report = self._in.report
        if report is None:
            message = "there are no audit files here, so losses of the store cannot be detected"
            yield Finding("unknown", "audit", message)
            return
        for problem in report.problems:
            yield Finding("wrong", "audit", problem)
        sealed = await self._in.streams.sealed()
        if sealed.lines > report.last:
            yield Finding(
                "wrong",
                "audit",
                f"the store counts {sealed.lines} lines, but the files end with line"
                f" {report.last}: their end was cut off, or it is in other files",
            )
        elif sealed.lines < report.last:
            yield Finding(
                "wrong",
                "store",
                f"it counts {sealed.lines} sealed lines, but the files have {report.last}: it lost"
                " what happened after that",
            )
        elif not report.problems:
            yield Finding("ok", "audit", f"complete, {report.last} lines")

    # -- requests in the audit -----------------------------------------------------------------

    async def _request(self, audited: AuditedRequest) -> AsyncIterator[Finding]:
        try:
            stored = await self._store.load(audited.id)
        except ConfigurationError:
            return  # reported for every request of the store
        history = await raw_history(self._store, audited.id)
        if stored and (not audited.history or audited.history[-1] in history):
            # the store has everything that the audit has
            if sent_again(orjson.loads(line)["event"] for line in history):
                # a process frozen between its last check and the call makes a second ticket
                finding = await ticket_of(self._in.systems, replace(stored.record, ticket_id=""))
                if finding.result != "note":
                    yield finding
            return
        rebuilt = self._rebuilt(audited)
        if isinstance(rebuilt, str):
            yield Finding("wrong", audited.id, f"the store lost it, and {rebuilt}")
            return
        if stored and set(history) - set(audited.history):
            yield compare_progress(stored.record, rebuilt.record)
            return
        state = rebuilt.record.state
        message = (
            f"its state is {stored.record.state} in the store, but {state} in the audit"
            if stored
            else f"the store lost it; its state in the audit is {state}"
        )
        yield await ticket_of(self._in.systems, rebuilt.record)
        yield await self._write_back(stored, rebuilt, audited.history, message)
        if rebuilt.record.decision and not audited.callback_accepted:
            yield Finding(
                "unknown",
                audited.id,
                "witboost may have its decision already: it is sent again, and a 409 answer means"
                " that witboost had it",
            )

    def _rebuilt(self, audited: AuditedRequest) -> StoredRequest | str:
        """Return the request as the audit has it, or the reason why it cannot be rebuilt."""
        try:
            rebuilt = audited.entry(self._store)
        except ConfigurationError as error:
            return str(error)
        return rebuilt or "the audit has too little to rebuild it"

    async def _write_back(
        self,
        stored: StoredRequest | None,
        rebuilt: StoredRequest,
        history: Sequence[bytes],
        message: str,
    ) -> Finding:
        """Replace what is stored by the rebuilt request, if repairs are allowed."""
        record = rebuilt.record
        if not self._repair:
            return Finding("wrong", record.id, f"{message}. --repair writes it back")
        event = Restored(at=await self._store.now(), by=_BY, reason=message)
        after = advance_entry(rebuilt, event)
        lines = [*history[-199:], history_entry(event, after.record)]
        try:
            await restore(self._store, stored, after, lines, retention=self._in.retention)
        except SupersededError:
            return Finding("wrong", record.id, f"{message}; a newer request has its URL now")
        except StaleError:
            return Finding("wrong", record.id, f"{message}; it is changing: run the doctor again")
        message = f"{message}. It was written back; its state is {after.record.state}"
        return Finding("repaired", record.id, message)

    # -- the store itself ----------------------------------------------------------------------

    async def _indices(self) -> AsyncIterator[Finding]:
        """Compare every index with the records from which it is made."""
        async for mismatch in compare_indices(
            self._store, repair=self._repair, retention=self._in.retention
        ):
            message = mismatch.message
            if not mismatch.repairable:
                yield Finding("wrong", mismatch.about, message)
            elif self._repair:
                yield Finding("repaired", mismatch.about, f"{message}. It was corrected")
            else:
                yield Finding("wrong", mismatch.about, f"{message}. --repair corrects it")

    async def _payloads(self) -> AsyncIterator[Finding]:
        """Check that each request of the store can be read, payload included."""
        for correlation_id in [request async for request in self._ids()]:
            self._step()
            try:
                stored = await self._store.load(correlation_id)
            except ConfigurationError as error:
                message = f"it cannot be read: {error}"
            else:
                message = _GONE if stored and not stored.payload else ""
            if message:
                async for finding in self._payload(correlation_id, message):
                    yield finding

    async def _payload(self, correlation_id: str, message: str) -> AsyncIterator[Finding]:
        """Write back the payload alone: the store may have a newer record than the audit."""
        audited = self._in.audited.get(correlation_id)
        rebuilt = self._rebuilt(audited) if audited else "these audit files do not contain it"
        if isinstance(rebuilt, str):
            yield Finding("wrong", correlation_id, f"{message}; {rebuilt}")
            if message == _GONE:
                yield Finding("unknown", correlation_id, _LOST)
            return
        try:
            stored = await load_without_payload(self._store, correlation_id)
        except ConfigurationError:  # more than the payload cannot be read
            yield Finding("wrong", correlation_id, message)
            return
        if stored is not None:  # else it has just been removed
            complete = replace(stored, payload=rebuilt.payload)
            history = await raw_history(self._store, correlation_id)
            yield await self._write_back(stored, complete, history, message)

    # -- requests that are not in the audit ----------------------------------------------------

    async def _not_audited(self) -> AsyncIterator[Finding]:
        """Check that every request of the store is in the audit."""
        waiting = await self._in.streams.unsealed({}, limit=10_000)
        audited = {*self._in.audited, *(entry.request for entry in waiting)}
        missing = [request async for request in self._ids() if request not in audited]
        if missing:
            message = (
                f"{len(missing)} requests of the store are not in these files"
                f" ({', '.join(missing[:5])}): they are older than the audit, or files are missing"
                " or expired, or lines were removed"
            )
            yield Finding("unknown", "audit", message)

    async def _ids(self) -> AsyncIterator[str]:
        """Yield the correlation ids of all requests in the store."""
        command = self._store.batcher.command
        for tag in self._store.keys.tags():
            for state in State:
                at, list_key = 0, f"{tag}:s:{state}"
                while page := await command("ZRANGE", list_key, at, at + _PAGE - 1):
                    for member in page:
                        yield member.decode()
                    at += len(page)
