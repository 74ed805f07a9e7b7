"""The store's side of the audit: entries that are not sealed yet, and how far sealing has come.

Every Lua script that changes something appends an audit entry in the same step, to a stream in the
slot of what it changes. One sealer at a time moves the entries out of Redis; sealed ones are
trimmed.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import orjson

from proxy.domain.models import StoredRequest
from proxy.errors import ConfigurationError
from proxy.store.client.scripts import (
    APPEND_AUDIT,
    SEAL,
    SNAPSHOT,
    AppendAuditArguments,
    NoArguments,
    SealArguments,
)
from proxy.store.requests import RequestStore

_BEFORE_ALL: Final = "0-0"  # before every stream id


class Snapshot(TypedDict):
    """A request as it is stored, byte for byte as characters, because JSON has no bytes.

    Payload and texts stay encrypted.
    """

    record: list[str]
    """Names and values of its fields, in turn."""
    texts: list[str]
    """Names and values of its texts, in turn."""
    payload: str
    """The hook call's body; empty if it was not read."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One audit entry as a Lua script wrote it; `stream` and `position` together are unique."""

    stream: str
    """The short name of its stream."""
    position: str
    """Its id in the stream."""
    request: str
    """The correlation id of its request; empty if it is about no request."""
    line: bytes
    """The entry, a JSON object."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """How far the audit is sealed."""

    lines: int
    """Lines of the chain."""
    hash: str
    """The hash of the last line."""
    positions: Mapping[str, str]
    """The last sealed position of each stream."""


def ordered(position: str) -> tuple[int, int]:
    """Return a stream id as numbers: milliseconds, then a count within them."""
    moment, _, count = position.partition("-")
    return int(moment), int(count)


class AuditStreams:
    """The streams of unsealed entries, and the sealing state that all processes share."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store
        self._key = store.keys.shared("audit")
        self.streams = store.keys.streams()

    async def take(self, owner: str, *, lease: int) -> Sealed | None:
        """Take or renew the sealing lease for `lease` ms; None if another process has it."""
        args = SealArguments("take", self._store.time, owner, lease=lease)
        granted, lines, last, positions = await self._store.batcher.script(SEAL, [self._key], args)
        if not granted:
            return None
        return Sealed(int(lines), last.decode(), orjson.loads(positions))

    async def advance(self, owner: str, before: Sealed, after: Sealed) -> bool:
        """Store how far the audit is sealed; False if another process has the lease by now."""
        args = SealArguments(
            action="advance",
            now=self._store.time,
            owner=owner,
            expected_hash=before.hash,
            lines=after.lines,
            hash=after.hash,
            positions=orjson.dumps(after.positions),
        )
        return bool(await self._store.batcher.script(SEAL, [self._key], args))

    async def sealed(self) -> Sealed:
        """Return how far the audit is sealed, without taking the lease."""
        lines, last, positions = await self._store.batcher.command(
            "HMGET", self._key, "lines", "hash", "positions"
        )
        return Sealed(int(lines or 0), (last or b"").decode(), orjson.loads(positions or b"{}"))

    async def unsealed(self, positions: Mapping[str, str], *, limit: int) -> list[AuditEntry]:
        """Return the entries after these positions in order of time, at most `limit` per stream."""
        answers = await self._store.batcher.commands(
            [
                ("XRANGE", key, f"({positions.get(name, _BEFORE_ALL)}", "+", "COUNT", limit)
                for name, key in self.streams.items()
            ]
        )
        entries = [
            AuditEntry(name, position.decode(), request.decode(), line)
            for name, answer in zip(self.streams, answers, strict=True)
            for position, (request, line) in answer
        ]
        return sorted(entries, key=lambda entry: ordered(entry.position))

    async def trim(self, positions: Mapping[str, str]) -> None:
        """Remove the sealed entries from Redis."""
        trims: list[tuple[Any, ...]] = []
        for name, position in positions.items():
            moment, count = ordered(position)
            trims.append(("XTRIM", self.streams[name], "MINID", f"{moment}-{count + 1}"))
        await self._store.batcher.commands(trims)

    async def waiting(self) -> int:
        """Return how many entries are not sealed yet."""
        commands: list[tuple[Any, ...]] = [("XLEN", key) for key in self.streams.values()]
        return sum(await self._store.batcher.commands(commands))

    async def has_all(self, positions: Mapping[str, str]) -> bool:
        """Return True if the store still has each of these entries, one per stream."""
        answers = await self._store.batcher.commands(
            [("XRANGE", self.streams[name], at, at) for name, at in positions.items()]
        )
        return all(answers)

    async def snapshots(
        self, ids: Sequence[str], *, with_payload: Collection[str]
    ) -> dict[str, Snapshot]:
        """Return requests as they are stored, by id; the payload only of those in `with_payload`.

        Expired requests are left out.
        """
        by_tag: dict[str, list[str]] = {}
        for request in ids:
            by_tag.setdefault(self._store.keys.tag_of(request), []).append(request)
        # one step per partition: a command per key would cost more than everything that is sealed
        answers = await asyncio.gather(
            *[
                self._store.batcher.script(
                    SNAPSHOT,
                    [tag],
                    NoArguments(),
                    [
                        value
                        for request in group
                        for value in (request, "1" if request in with_payload else "")
                    ],
                )
                for tag, group in by_tag.items()
            ]
        )
        return {
            request: {
                "record": characters(record),
                "texts": characters(texts),
                "payload": (payload or b"").decode("latin-1"),
            }
            for group, rows in zip(by_tag.values(), answers, strict=True)
            for request, (record, texts, payload) in zip(group, rows, strict=True)
            if record
        }

    async def append(
        self, about: str, entry: Mapping[str, Any], *, before: str = "*", after: str = ""
    ) -> bool:
        """Append an entry about no request, together with the value whose change it records.

        Without `after`, the value is the name of this operation, so that a repeat is recognised.
        False if the value is not `before` any more.
        """
        keys = [self._store.keys.audit_stream(about), self._store.keys.shared(about)]
        args = AppendAuditArguments(
            now=self._store.time,
            before=before,
            after=after or self._store.operation(),
            entry=orjson.dumps(entry),
        )
        return bool(await self._store.batcher.script(APPEND_AUDIT, keys, args))


def characters(values: Sequence[bytes]) -> list[str]:
    """Return bytes as characters, value by value; in one pass if no value contains a NUL."""
    texts = b"\0".join(values).decode("latin-1").split("\0") if values else []
    if len(texts) == len(values):
        return texts
    return [value.decode("latin-1") for value in values]


def read_snapshot(store: RequestStore, snapshot: Snapshot) -> StoredRequest:
    """Return the request in a snapshot, which may be older than an import of the store.

    Raises:
        ConfigurationError: it is encrypted under a missing key.
    """
    record = [value.encode("latin-1") for value in snapshot["record"]]
    texts = [value.encode("latin-1") for value in snapshot["texts"]]
    payload = snapshot["payload"].encode("latin-1")
    for keys in store.previous_namespaces:
        with contextlib.suppress(ConfigurationError):
            return store.entry(record, payload, texts, keys)
    return store.entry(record, payload, texts)
