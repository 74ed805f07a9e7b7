"""Everything under a namespace, as items that go into an export.

An item is what JSON can hold; bytes are characters in it, as in the audit. What the key ring hides
in the store is shown in it. What follows from the rest is left out (states, counts, digests), and
what passes by itself (access tokens, turns, claims).
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, TypedDict

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import characters
from proxy.store.queries import flat, text_place
from proxy.store.requests import RequestStore
from proxy.store.transfer.namespace import key_names, last_changes

_REQUESTS: Final = 100  # at once
_ENTRIES: Final = 500  # of a stream, at once
_NEVER_PASSES: Final = -1  # says PTTL; -2 of what has passed meanwhile


class RequestItem(TypedDict):
    """A request: its record and texts as names and values in turn, its payload, history, due time.

    `newest` says that no other request has its URL since.
    """

    kind: Literal["request"]
    record: list[str]
    texts: list[str]
    payload: str
    history: list[str]
    due: int | None
    newest: bool


class TicketIndex(TypedDict):
    """What a ticket is looked up by, `SYSTEM:ID`, and the id of the request that it leads to."""

    kind: Literal["ticket"]
    ref: str
    id: str


class Stream(TypedDict):
    """Entries of the audit that are not sealed yet: position, request, line; and the last id."""

    kind: Literal["stream"]
    name: str
    entries: list[tuple[str, str, str]]
    last: str


class SharedItem(TypedDict):
    """A key that belongs to no partition: a hash as names and values in turn, or a text.

    `name` is that of the key without the namespace, `until` the moment (ms) at which it passes.
    `sealed` names the field that the key ring hides; of a text, it is not empty where that is.
    """

    kind: Literal["hash", "text"]
    name: str
    words: list[str]
    until: int | None
    sealed: str


Item = RequestItem | TicketIndex | Stream | SharedItem

_TEXTS: Final = re.compile(r":(credentials|refused|exports|seen:.+)")
_HASHES: Final = re.compile(
    r":(routes|methods|pauses|changes|signing|audit)|\{:logins\}:refresh:.+"
)
_LEFT_OUT: Final = re.compile(r":(meta|alarms|(taking|token|turn):.+)|\{:logins\}:using:.+")
_EARLIER: Final = re.compile(r":(logins|(refresh|using):\{.+\})")  # what no version reads any more
_SEALED: Final = {":credentials": "text", ":signing": "own", "{:logins}:refresh": "token"}
_SEALER: Final = ("owner", "until")  # who seals now is no matter of the audit


async def items(store: RequestStore, ring: KeyRing) -> AsyncIterator[Item]:
    """Yield everything; a request may come twice, with the same content.

    Raises:
        ConfigurationError: something cannot be decrypted, or a key is of a kind that is not known.
    """
    partition = re.compile(rf"\{{{re.escape(store.keys.namespace)}:\d+\}}:(\w+)(?::(.+))?")
    async for names in key_names(store):
        inside = {name: found for name in names if (found := partition.fullmatch(name))}
        ids = [found[2] for found in inside.values() if found[1] == "r"]
        for at in range(0, len(ids), _REQUESTS):
            for request in await _requests(store, ids[at : at + _REQUESTS]):
                yield request
        for ticket in await _tickets(store, [n for n, it in inside.items() if it[1] == "t"]):
            yield ticket
        streams = store.keys.streams().values()
        for shared in await _all_shared(store, ring, [*set(names) - inside.keys() - {*streams}]):
            yield shared
    async for stream in _streams(store):
        yield stream


async def _requests(store: RequestStore, ids: Sequence[str]) -> list[RequestItem]:
    commands: list[tuple[Any, ...]] = []
    for each in ids:
        tag = store.keys.tag_of(each)
        commands += [("HGETALL", f"{tag}:r:{each}"), ("HGETALL", f"{tag}:x:{each}")]
        commands += [("GET", f"{tag}:p:{each}"), ("LRANGE", f"{tag}:h:{each}", 0, -1)]
        commands += [("ZSCORE", f"{tag}:due", each)]
    answers = await store.batcher.commands(commands)
    found = [_request(store, each, answers[at * 5 : at * 5 + 5]) for at, each in enumerate(ids)]
    newest = await store.batcher.commands(
        [
            ("GET", f"{store.keys.tag_of(each)}:u:{_field(it, 'url')}")
            for each, it in zip(ids, found, strict=True)
        ]
    )
    for each, request, named in zip(ids, found, newest, strict=True):
        request["newest"] = named == each.encode()
    return found


def _request(store: RequestStore, each: str, kept: Sequence[Any]) -> RequestItem:
    record, texts, payload, history, due = kept
    tag, show = store.keys.tag_of(each), store.privacy.decrypt
    words = flat(texts)
    shown = [
        word
        for name, value in zip(words[::2], words[1::2], strict=True)
        for word in (name, show(value, text_place(tag, each, name.decode())))
    ]
    return RequestItem(
        kind="request",
        record=characters(flat(record)),
        texts=characters(shown),
        payload=show(payload or b"", f"{tag}:p:{each}").decode("latin-1"),
        history=characters(history),
        due=None if due is None else int(float(due)),
        newest=False,
    )


def _field(request: RequestItem, name: str) -> str:
    words = request["record"]
    return dict(zip(words[::2], words[1::2], strict=True)).get(name, "")


async def _tickets(store: RequestStore, names: Sequence[str]) -> list[TicketIndex]:
    ids = await store.batcher.commands([("GET", name) for name in names])
    return [
        TicketIndex(kind="ticket", ref=name.partition("}:t:")[2], id=found.decode())
        for name, found in zip(names, ids, strict=True)
        if found
    ]


async def _all_shared(store: RequestStore, ring: KeyRing, names: Sequence[str]) -> list[SharedItem]:
    found = []
    for name in names:
        relative = name.replace(store.keys.namespace, "", 1)
        if _HASHES.fullmatch(relative):
            words = flat(await store.batcher.command("HGETALL", name))
            found.append(_shared(ring, name, relative, "hash", words))
        elif _TEXTS.fullmatch(relative):
            text = await store.batcher.command("GET", name)
            if text is not None:  # or it has just passed
                found.append(_shared(ring, name, relative, "text", [text]))
                found[-1]["until"] = await _until(store, name)
        elif not (_LEFT_OUT.fullmatch(relative) or _EARLIER.fullmatch(relative)):
            raise ConfigurationError(
                f"{name} is no key that this version knows. Export with the version that wrote it."
            )
    return found


def _shared(
    ring: KeyRing, name: str, relative: str, kind: Literal["hash", "text"], words: Sequence[bytes]
) -> SharedItem:
    sealed = next((it for begin, it in _SEALED.items() if relative.startswith(begin)), "")
    shown = list(words)
    if kind == "text" and sealed:
        shown = [ring.open(words[0], name=name)]
    elif kind == "hash":
        pairs = zip(words[::2], words[1::2], strict=True)
        kept = [(field.decode(), value) for field, value in pairs]
        shown = [
            word
            for field, value in kept
            if not (relative == ":audit" and field in _SEALER)
            for word in (field.encode(), ring.open(value, name=name) if field == sealed else value)
        ]
    return SharedItem(kind=kind, name=relative, words=characters(shown), until=None, sealed=sealed)


async def _until(store: RequestStore, name: str) -> int | None:
    left = int(await store.batcher.command("PTTL", name))
    return None if left == _NEVER_PASSES else await store.now() + max(left, 1)


async def _streams(store: RequestStore) -> AsyncIterator[Stream]:
    """Yield what is not sealed of every stream, a page at a time; the last id comes at its end."""
    for name, last in (await last_changes(store, store.keys)).items():
        key, after = store.keys.streams()[name], "-"
        while page := await store.batcher.command("XRANGE", key, after, "+", "COUNT", _ENTRIES):
            entries = [
                (position.decode(), *characters([request, line]))
                for position, (request, line) in page
            ]
            yield Stream(kind="stream", name=name, entries=entries, last="")
            after = f"({entries[-1][0]}"
        yield Stream(kind="stream", name=name, entries=[], last=last)
