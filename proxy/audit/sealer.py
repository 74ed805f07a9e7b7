"""The sealer: moves audit entries out of Redis into the chain of lines, one process at a time.

Entries are written first, then Redis stores how far; if a process dies in between, the next sealer
finds its lines at the end of the files and continues from there. If it cannot see those files
(another machine), it seals the same entries again, and the chain forks before them.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.audit.chain import CHECKPOINT, GENESIS, HEAD, Chain, digest
from proxy.audit.files import HEAD_FILE, KEYS_FILE, AuditFile, Sink, parsed
from proxy.domain.clock import Clock
from proxy.domain.schedule import HOUR, SECOND
from proxy.errors import ProxyError
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics
from proxy.security.key_ring import KeyRing
from proxy.security.signing import Signer
from proxy.store.audit_streams import AuditEntry, AuditStreams, Sealed, Snapshot
from proxy.store.codec import ADMITTED

LEASE: Final = 15 * SECOND
_BATCH: Final = 64  # entries of one stream at once, because sealing blocks the event loop
_GIVES_WAY: Final = 15  # the pause after sealing, as a multiple of the time that it took
_MOST_WAITING: Final = 100_000  # entries: about 25 MB of Redis
_ADMITTED: Final = f'"event":"{ADMITTED}"'.encode()

_log: Final = logging.getLogger(__name__)


def snapshot_name(request: str) -> str:
    """Return the name for which the sealed snapshot of a request is encrypted."""
    return f"audit:{request}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditKeys:
    """The keys of the audit; without them it is a chain of hashes only."""

    signer: Signer | None
    """Signs heads and checkpoints."""
    ring: KeyRing | None
    """Encrypts the snapshots of requests."""
    published: Callable[[], Awaitable[bytes]]
    """Returns the public keys of all signers so far, as a JWK set."""


class Sealer:
    """Seals every `every` milliseconds while it has the lease; without a sink it only trims."""

    def __init__(
        self,
        *,
        streams: AuditStreams,
        sink: Sink | None,
        seals: AuditKeys,
        alarms: Alarms,
        metrics: Metrics,
        clock: Clock,
        every: int,
        retention: int,
    ) -> None:
        self._streams = streams
        self._sink = sink
        self._seals = seals
        self._alarms = alarms
        self._metrics = metrics
        self._clock = clock
        self._every = every
        self._retention = retention
        self._owner = secrets.token_hex(8)
        self._at: Sealed | None = None
        self._failing = False
        self._more = False
        self._waiting = 0
        self._checked_at: int | None = None

    async def run(self) -> None:
        """Seal repeatedly, until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self._turn()
            await asyncio.sleep(self._pause(self._clock.monotonic() - began) / SECOND)

    def _pause(self, took: int) -> int:
        """Return how long to leave the event loop to the requests, in milliseconds.

        A head and a disk sync would cost more than the few entries before them, so sealing waits
        for its interval. If more entries wait already it continues earlier, but takes a small share
        of the time: entries are safe in Redis, where they only cost memory, up to a limit.
        """
        if not self._more:
            return self._every
        return 0 if self._waiting > _MOST_WAITING else min(took * _GIVES_WAY, self._every)

    async def _turn(self) -> int:
        """Seal once and return the number of entries; a failure is retried later."""
        self._more = False
        try:
            count = await self.seal()
        except Exception as error:  # noqa: BLE001 - the audit must never stop the work
            self._at = None  # the files show where to continue
            if not self._failing:
                self._failing = True
                expected = isinstance(error, ProxyError | OSError)
                _log.log(logging.INFO if expected else logging.ERROR, "Not sealed", exc_info=error)
                reason = str(error).rstrip(".") or type(error).__name__
                self._alarms.sound(
                    Alarm.AUDIT_STOPPED,
                    f"The audit cannot be written: {reason}. Nothing is lost: entries wait in"
                    " Redis, and take its memory. Check audit.folder and its disk.",
                )
            return 0
        self._failing = False
        return count

    async def close(self) -> None:
        """Seal the remaining entries and give up the lease; another process retries failures."""
        while await self._turn():
            pass
        with contextlib.suppress(ProxyError):
            if self._at is not None:
                await self._streams.take(self._owner, lease=0)

    async def seal(self) -> int:
        """Seal the waiting entries and return their number.

        Raises:
            StoreUnavailableError: the entries cannot be read.
            OSError: the lines cannot be written.
        """
        sealed = await self._streams.take(self._owner, lease=LEASE)
        if sealed is None:
            self._at = None
            return 0
        if self._at is None or self._at.hash != sealed.hash:
            self._at = await self._continue(sealed)
        entries = await self._streams.unsealed(self._at.positions, limit=_BATCH)
        self._more = _BATCH in Counter(entry.stream for entry in entries).values()
        self._waiting = await self._streams.waiting() if self._more else len(entries)
        self._metrics.audit_unsealed.set(self._waiting)
        if not entries and self._at.hash == sealed.hash:
            return 0
        after = await self._write(self._at, entries)
        if await self._streams.advance(self._owner, sealed, after):
            self._at = after
            await self._streams.trim(after.positions)
        else:
            _log.warning("Another process seals the audit now")
            self._at = None
        return len(entries)

    async def _continue(self, sealed: Sealed) -> Sealed:
        """Return the end of the chain: the one in Redis, or a later one in the files."""
        if self._sink is None:
            return sealed
        self._sink.begin_anew()
        at = await asyncio.to_thread(_end, self._sink, sealed)
        # lines that Redis does not count yet: their entries are not trimmed
        news = dict(at.positions.items() - sealed.positions.items())
        if news and not await self._streams.has_all(news):
            self._alarms.sound(
                Alarm.STORE_BEHIND_AUDIT,
                "The audit has changes that the store lost: it may be an older snapshot, or the end"
                " of its append-only file is missing. Run approval-proxy doctor.",
            )
        keys = await self._seals.published()
        await asyncio.to_thread(self._sink.publish, KEYS_FILE, keys)
        return at

    async def _write(self, at: Sealed, entries: Sequence[AuditEntry]) -> Sealed:
        positions = {**at.positions, **{entry.stream: entry.position for entry in entries}}
        if self._sink is None:
            # nothing is written, and the entries may be trimmed
            return Sealed(at.lines + len(entries), secrets.token_hex(32), positions)
        chain = Chain(at.lines, at.hash or GENESIS)
        lines = await self._lines(chain, entries)
        old = await asyncio.to_thread(self._overdue, self._sink)
        if old:
            removed = {"lines": old[-1].last, "hash": old[-1].hash, "at": self._clock.now()}
            lines.append(chain.add({"checkpoint": self._signed(removed, CHECKPOINT)}))
        head = {"lines": chain.lines, "hash": chain.last, "at": self._clock.now()}
        signed = self._signed(head, HEAD)
        lines.append(chain.add({"head": signed}))
        await asyncio.to_thread(self._sink.append, at.lines + 1, lines)
        await asyncio.to_thread(self._sink.publish, HEAD_FILE, orjson.dumps({"head": signed}))
        for removable in old:
            removable.file.path.unlink()
        return Sealed(chain.lines, chain.last, positions)

    def _signed(self, content: Mapping[str, Any], kind: str) -> Any:
        signer = self._seals.signer
        return signer.sign(content, kind=kind) if signer else content

    async def _lines(self, chain: Chain, entries: Sequence[AuditEntry]) -> list[bytes]:
        last = {entry.request: entry for entry in entries if entry.request}
        snapshots: Mapping[str, Snapshot] = {}
        if self._seals.ring:
            admitted = {entry.request for entry in entries if _ADMITTED in entry.line}
            snapshots = await self._streams.snapshots(list(last), with_payload=admitted)
        lines = []
        for entry in entries:
            content: dict[str, Any] = {
                "stream": entry.stream,
                "at": entry.position,
                "request": entry.request,
                "entry": orjson.Fragment(entry.line),
            }
            if last.get(entry.request) is entry and entry.request in snapshots:
                content["sealed"] = self._sealed(entry.request, snapshots[entry.request])
            lines.append(chain.add(content))
        return lines

    def _sealed(self, request: str, snapshot: Snapshot) -> str:
        assert self._seals.ring is not None
        return self._seals.ring.seal(orjson.dumps(snapshot), name=snapshot_name(request)).decode()

    def _overdue(self, sink: Sink) -> list["_Removable"]:
        """Return the oldest files whose retention is over; checked once an hour."""
        now = self._clock.monotonic()
        if self._checked_at is not None and now < self._checked_at + HOUR:
            return []
        self._checked_at = now
        files, ends = sink.files(), self._clock.now() - self._retention
        old = []
        for file, then in itertools.pairwise(files):  # a file ends where the next one begins
            first = parsed(next(then.lines(), b""))
            if then.begun >= ends or first is None:
                break
            old.append(_Removable(file, first["seq"] - 1, first["prev"]))
        return old


@dataclass(frozen=True, slots=True)
class _Removable:
    """An audit file whose retention is over."""

    file: AuditFile
    """The file."""
    last: int
    """The number of its last line."""
    hash: str
    """The hash of its last line."""


def _end(sink: Sink, sealed: Sealed) -> Sealed:
    """Return the end of the files if they continue the chain in Redis, else the end in Redis.

    A store without any line may be a new one with old files.
    """
    files = sink.files()
    starts = [at for at, file in enumerate(files) if file.first <= sealed.lines]
    chain, positions, connected = Chain(sealed.lines, sealed.hash), dict(sealed.positions), False
    for file in files[starts[-1] if starts else 0 :]:
        for text in file.lines():
            line = parsed(text)
            if line is None:
                continue
            hashed = digest(text[:-1])
            if line["seq"] == sealed.lines and hashed == sealed.hash:
                connected = True
            elif (connected and line["prev"] == chain.last) or not sealed.lines:
                chain = Chain(line["seq"], hashed)
                if "stream" in line:
                    positions[line["stream"]] = line["at"]
    return Sealed(chain.lines, chain.last, positions) if connected or not sealed.lines else sealed
