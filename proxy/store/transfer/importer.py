"""Write the items of an export into a namespace that no service uses yet."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final

import orjson

from proxy.domain.models import Record
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import ordered
from proxy.store.client.scripts import APPEND, IMPORT, ImportArguments, NoArguments
from proxy.store.codec import read_record
from proxy.store.queries import pairs
from proxy.store.requests import RequestStore
from proxy.store.transfer.exporter import Item, RequestItem, SharedItem, Stream, TicketIndex

Reindex = Callable[[Record, bytes], Record]
"""Returns a record with its digests under the present index key, from the hook call's body."""

_NO_SERVER: Final = "imported"  # a run id that no server has
_BEFORE_ALL: Final = "0-0"  # before every stream id


class Importer:
    """Writes items; each may come twice.

    With `doubt`, more may have happened than the export contains: as after a restart of the store,
    a ticket is looked up before it is created.
    """

    def __init__(
        self, store: RequestStore, ring: KeyRing, *, reindex: Reindex, doubt: bool
    ) -> None:
        self._store = store
        self._ring = ring
        self._reindex = reindex
        self._doubt = doubt
        self._last: dict[str, str] = {}

    async def write(self, items: Sequence[Item]) -> None:
        """Write some items, in one round trip unless their order matters."""
        await asyncio.gather(*[self._write(item) for item in items if item["kind"] != "stream"])
        for item in items:
            if item["kind"] == "stream":
                await self._stream(item)

    async def finish(self) -> None:
        """Continue every stream after its last exported id: earlier entries would not be sealed.

        Those of partitions continue after the last entry of any of them, because another number of
        partitions has other streams.
        """
        own = [at for name, at in self._last.items() if name.isdigit()]
        newest = max(own, key=ordered, default=_BEFORE_ALL)
        for name, key in self._store.keys.streams().items():
            last = newest if name.isdigit() else self._last.get(name, _BEFORE_ALL)
            if last != _BEFORE_ALL:
                await self._continue_after(key, last)

    def _write(self, item: RequestItem | TicketIndex | SharedItem) -> Awaitable[Any]:
        match item["kind"]:
            case "request":
                return self._request(item)
            case "ticket":
                tag = self._store.keys.tag_of(item["id"])
                return self._store.batcher.command("SET", f"{tag}:t:{item['ref']}", item["id"])
            case "hash":
                return self._hash(item)
            case "text":
                return self._text(item)

    async def _request(self, item: RequestItem) -> None:
        stored = _bytes(item["record"])
        record, payload = read_record(stored), item["payload"].encode("latin-1")
        fields = dict(pairs(stored))
        if payload:
            indexed = self._reindex(record, payload)
            fields |= {
                b"url": indexed.url_digest.encode(),
                b"content": indexed.content_digest.encode(),
            }
        if self._doubt:
            fields[b"run_id"] = _NO_SERVER.encode()
        tag, texts = self._store.keys.tag_of(record.id), pairs(_bytes(item["texts"]))
        body = payload and self._store.privacy.encrypt(payload, f"{tag}:p:{record.id}")
        await self._store.batcher.script(
            IMPORT,
            [tag],
            ImportArguments(
                id=record.id,
                due="" if item["due"] is None else item["due"],
                url_digest=fields.get(b"url", b"") if item["newest"] else b"",
                payload=body,
                field_count=len(fields),
                history_count=len(item["history"]),
            ),
            [
                *chain.from_iterable(fields.items()),
                *_bytes(item["history"]),
                *self._store.encrypt_texts(record.id, ((n.decode(), text) for n, text in texts)),
            ],
        )

    async def _stream(self, item: Stream) -> None:
        if item["last"]:
            self._last[item["name"]] = item["last"]
        else:
            entries = _bytes([*chain.from_iterable(item["entries"])])
            await self._append(self._store.keys.streams()[item["name"]], entries)

    async def _append(self, key: str, entries: Sequence[Any]) -> None:
        await self._store.batcher.script(APPEND, [key], NoArguments(), entries)

    async def _continue_after(self, key: str, last: str) -> None:
        """Make the next entry of a stream come after this id, which it may contain or not."""
        command = self._store.batcher.command
        if not await command("XRANGE", key, last, last):
            await self._append(key, [last, "", ""])
            await command("XDEL", key, last)

    async def _hash(self, item: SharedItem) -> None:
        key, sealed = self._key(item), item["sealed"]
        fields = {name.decode(): value for name, value in pairs(_bytes(item["words"]))}
        if sealed in fields:
            fields[sealed] = self._ring.seal(fields[sealed], name=key)
        if item["name"] == ":audit":
            streams = self._store.keys.streams()
            positions = orjson.loads(fields.get("positions", b"{}"))
            own = {name: at for name, at in positions.items() if name in streams}
            fields["positions"] = orjson.dumps(own)
        if fields:
            await self._store.batcher.command("HSET", key, *chain.from_iterable(fields.items()))

    async def _text(self, item: SharedItem) -> None:
        key, (text,) = self._key(item), _bytes(item["words"])
        value = self._ring.seal(text, name=key) if item["sealed"] else text
        expiry = [] if item["until"] is None else ["PXAT", item["until"]]
        await self._store.batcher.command("SET", key, value, *expiry)

    def _key(self, item: SharedItem) -> str:
        """Return the name of an item's key in this namespace."""
        namespace, name = self._store.keys.namespace, item["name"]
        return f"{{{namespace}{name[1:]}" if name.startswith("{") else f"{namespace}{name}"


def _bytes(texts: Sequence[str]) -> list[bytes]:
    return [text.encode("latin-1") for text in texts]
