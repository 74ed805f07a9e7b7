"""What an export holds, written into a namespace that no service uses yet."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import orjson

from proxy.domain.models import Record
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import ordered
from proxy.store.client.scripts import load_script
from proxy.store.codec import read_record
from proxy.store.queries import text_place
from proxy.store.requests import RequestStore
from proxy.store.transfer.exporter import Item, RequestItem, SharedItem, Stream, TicketIndex

Reindex = Callable[[Record, bytes], Record]
"""Returns a record with its digests under the index key in force, from the hook call's body."""

_ARRIVE, _APPEND = load_script("arrive"), load_script("append")
_NO_SERVER: Final = "imported"  # a run id that no server has
_BEFORE_ALL: Final = "0-0"


class Importer:
    """Writes items; each may come twice.

    With `doubt`, more may have happened outside than the export knows: as after a restart of the
    store, a ticket is looked up before it is created.
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
        """Write some items, in one round trip where their order is no matter."""
        await asyncio.gather(*[self._write(it) for it in items if it["kind"] != "stream"])
        for item in items:
            if item["kind"] == "stream":
                await self._stream(item)

    async def finish(self) -> None:
        """Let every stream go on after what it had: what came before that would not be sealed.

        Those of partitions go on after the last entry of any, as another number has other streams.
        """
        own = [at for name, at in self._last.items() if name.isdigit()]
        newest = max(own, key=ordered, default=_BEFORE_ALL)
        for name, key in self._store.keys.streams().items():
            last = newest if name.isdigit() else self._last.get(name, _BEFORE_ALL)
            if last != _BEFORE_ALL:
                await self._go_on_after(key, last)

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
        words = _bytes(item["record"])
        record, payload = read_record(words), item["payload"].encode("latin-1")
        fields = dict(zip(words[::2], words[1::2], strict=True))
        if payload:
            indexed = self._reindex(record, payload)
            fields |= {
                b"url": indexed.url_digest.encode(),
                b"content": indexed.content_digest.encode(),
            }
        if self._doubt:
            fields[b"run_id"] = _NO_SERVER.encode()
        tag, texts = self._store.keys.tag_of(record.id), _bytes(item["texts"])
        hide = self._store.privacy.encrypt
        hidden = [
            word
            for name, text in zip(texts[::2], texts[1::2], strict=True)
            for word in (name, hide(text, text_place(tag, record.id, name.decode())))
        ]
        await self._store.batcher.script(
            _ARRIVE,
            [tag],
            [
                record.id,
                "" if item["due"] is None else item["due"],
                fields.get(b"url", b"") if item["newest"] else "",
                hide(payload, f"{tag}:p:{record.id}") if payload else b"",
                len(fields),
                *[word for pair in fields.items() for word in pair],
                len(item["history"]),
                *_bytes(item["history"]),
                *hidden,
            ],
        )

    async def _stream(self, item: Stream) -> None:
        if item["last"]:
            self._last[item["name"]] = item["last"]
        else:
            words = _bytes([word for entry in item["entries"] for word in entry])
            key = self._store.keys.streams()[item["name"]]
            await self._store.batcher.script(_APPEND, [key], words)

    async def _go_on_after(self, key: str, last: str) -> None:
        """Let the next entry of a stream come after this one, which it may have or not."""
        command = self._store.batcher.command
        if not await command("XRANGE", key, last, last):
            await self._store.batcher.script(_APPEND, [key], [last, "", ""])
            await command("XDEL", key, last)

    async def _hash(self, item: SharedItem) -> None:
        place, words = self._place(item), _bytes(item["words"])
        fields = {name.decode(): it for name, it in zip(words[::2], words[1::2], strict=True)}
        if item["sealed"] in fields:
            fields[item["sealed"]] = self._ring.seal(fields[item["sealed"]], name=place)
        if item["name"] == ":audit":
            known = self._store.keys.streams()
            positions = orjson.loads(fields.get("positions", b"{}"))
            fields["positions"] = orjson.dumps({n: at for n, at in positions.items() if n in known})
        if fields:
            pairs = [word for pair in fields.items() for word in pair]
            await self._store.batcher.command("HSET", place, *pairs)

    async def _text(self, item: SharedItem) -> None:
        place, (text,) = self._place(item), _bytes(item["words"])
        value = self._ring.seal(text, name=place) if item["sealed"] else text
        passes = [] if item["until"] is None else ["PXAT", item["until"]]
        await self._store.batcher.command("SET", place, value, *passes)

    def _place(self, item: SharedItem) -> str:
        """Return the name of a key in this namespace."""
        namespace = self._store.keys.namespace
        name = item["name"]
        return f"{{{namespace}{name[1:]}" if name.startswith("{") else f"{namespace}{name}"


def _bytes(words: Sequence[str]) -> list[bytes]:
    return [word.encode("latin-1") for word in words]
