"""The store's side of the audit: what is not sealed yet, who seals it, and how far it is sealed.

Every Lua step that changes something appends an entry in the same step, to a stream in the slot of
what it changes. One sealer at a time takes the entries out of Redis; what is sealed is trimmed.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import orjson

from proxy.domain.models import StoredRequest
from proxy.errors import ConfigurationError
from proxy.store.client.scripts import load_script
from proxy.store.requests import RequestStore

_SEAL, _NOTE, _KEPT = map(load_script, ("seal", "note", "kept"))
_NONE: Final = "0-0"  # before every stream id


class Snapshot(TypedDict):
    """What lies under the keys of a request, byte for byte as characters: JSON knows no bytes.

    Payload and texts stay encrypted as they are; `record` and `texts` are names and values in turn.
    """

    record: list[str]
    texts: list[str]
    payload: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry as its Lua step wrote it: `request` is a correlation id, or empty.

    `stream` and `position` say where it stood, and never repeat.
    """

    stream: str
    position: str
    request: str
    line: bytes

    @property
    def order(self) -> tuple[int, int]:
        """What sorts entries of all streams by the server's time."""
        return ordered(self.position)


@dataclass(frozen=True, slots=True)
class Sealed:
    """How far the audit is sealed: lines so far, the last one's hash, the last entry per stream."""

    lines: int
    hash: str
    positions: Mapping[str, str]


def ordered(position: str) -> tuple[int, int]:
    """Return a stream id as numbers: milliseconds, then a count within them."""
    moment, _, count = position.partition("-")
    return int(moment), int(count)


class AuditStreams:
    """Entries that wait to be sealed, and the state of sealing that all processes share."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store
        self._key = store.keys.shared("audit")
        self.streams = store.keys.streams()

    async def take(self, owner: str, *, lease: int) -> Sealed | None:
        """Take or keep the turn at sealing for `lease` milliseconds; None if another has it."""
        words = ["take", self._store.time, owner, lease]
        ours, lines, last, positions = await self._store.batcher.script(_SEAL, [self._key], words)
        if not ours:
            return None
        return Sealed(int(lines), last.decode(), orjson.loads(positions))

    async def advance(self, owner: str, before: Sealed, after: Sealed) -> bool:
        """Note how far it is sealed now; False if another has taken over meanwhile."""
        words = ["advance", self._store.time, owner, before.hash]
        words += [str(after.lines), after.hash, orjson.dumps(after.positions).decode()]
        return bool(await self._store.batcher.script(_SEAL, [self._key], words))

    async def sealed(self) -> Sealed:
        """Return how far it is sealed, without taking a turn."""
        found = await self._store.batcher.command("HMGET", self._key, "lines", "hash", "positions")
        lines, last, positions = found
        return Sealed(int(lines or 0), (last or b"").decode(), orjson.loads(positions or b"{}"))

    async def unsealed(self, positions: Mapping[str, str], *, limit: int) -> list[AuditEntry]:
        """Return what came after these positions, at most `limit` per stream, in order of time."""
        answers = await self._store.batcher.commands(
            [
                ("XRANGE", key, f"({positions.get(name, _NONE)}", "+", "COUNT", limit)
                for name, key in self.streams.items()
            ]
        )
        found = [
            AuditEntry(name, position.decode(), request.decode(), line)
            for name, answer in zip(self.streams, answers, strict=True)
            for position, (request, line) in answer
        ]
        return sorted(found, key=lambda entry: entry.order)

    async def trim(self, positions: Mapping[str, str]) -> None:
        """Drop from Redis what is sealed."""
        trims: list[tuple[Any, ...]] = []
        for name, position in positions.items():
            moment, count = ordered(position)
            trims.append(("XTRIM", self.streams[name], "MINID", f"{moment}-{count + 1}"))
        await self._store.batcher.commands(trims)

    async def waiting(self) -> int:
        """Return how many entries are not sealed yet."""
        commands: list[tuple[Any, ...]] = [("XLEN", key) for key in self.streams.values()]
        return sum(await self._store.batcher.commands(commands))

    async def hold(self, positions: Mapping[str, str]) -> bool:
        """Whether the store still has each of these entries, one per stream."""
        answers = await self._store.batcher.commands(
            [("XRANGE", self.streams[name], at, at) for name, at in positions.items()]
        )
        return all(answers)

    async def kept(self, ids: Sequence[str], *, whole: Collection[str]) -> dict[str, Snapshot]:
        """Return what lies under the three keys of requests, the payload only of those in `whole`.

        One whose retention is over is not in the answer.
        """
        by_tag: dict[str, list[str]] = {}
        for each in ids:
            by_tag.setdefault(self._store.keys.tag_of(each), []).append(each)
        # one step a partition: a command for each key would cost more than all that is sealed
        answers = await asyncio.gather(
            *[
                self._store.batcher.script(
                    _KEPT, [tag], [word for it in some for word in (it, "1" if it in whole else "")]
                )
                for tag, some in by_tag.items()
            ]
        )
        return {
            each: {
                "record": characters(record),
                "texts": characters(texts),
                "payload": (payload or b"").decode("latin-1"),
            }
            for some, rows in zip(by_tag.values(), answers, strict=True)
            for each, (record, texts, payload) in zip(some, rows, strict=True)
            if record
        }

    async def note(
        self, about: str, entry: Mapping[str, Any], *, before: str = "*", after: str = ""
    ) -> bool:
        """Append an entry that is about no request, with the value whose change it tells.

        Without `after`, the value is the name of this operation, by which a repeat is known.
        False where the value is not `before` any more.
        """
        keys = [self._store.keys.beside(about), self._store.keys.shared(about)]
        after = after or self._store.operation()
        words = [self._store.time, before, after, orjson.dumps(entry)]
        return bool(await self._store.batcher.script(_NOTE, keys, words))


def characters(words: Sequence[bytes]) -> list[str]:
    """Return bytes as characters, each word by itself; all in one pass where no word has a NUL."""
    found = b"\0".join(words).decode("latin-1").split("\0") if words else []
    return found if len(found) == len(words) else [word.decode("latin-1") for word in words]


def read_kept(store: RequestStore, kept: Snapshot) -> StoredRequest:
    """Return the request that was kept, perhaps before the store was imported.

    Raises:
        ConfigurationError: it is encrypted under a key that is missing.
    """
    record, texts = ([it.encode("latin-1") for it in kept[part]] for part in ("record", "texts"))
    payload = kept["payload"].encode("latin-1")
    for keys in store.previous_namespaces:
        with contextlib.suppress(ConfigurationError):
            return store.entry(record, payload, texts, keys)
    return store.entry(record, payload, texts)
