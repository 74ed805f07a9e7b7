"""Everything in a namespace, as the items of an export.

An item is plain JSON; bytes are characters in it, as in the audit. What the key ring encrypts in
the store is in clear. What can be derived is left out (lists by state, counts, digests), and so is
what expires soon (access tokens, turns, claims).
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing
from proxy.store.audit_streams import characters
from proxy.store.queries import flat, pairs
from proxy.store.requests import RequestStore
from proxy.store.transfer.namespace import key_names, last_changes

_REQUESTS: Final = 100  # at once
_ENTRIES: Final = 500  # of a stream, at once
_NO_EXPIRY: Final = -1  # PTTL's answer; -2 for a key that has expired


class RequestItem(TypedDict):
    """A request."""

    kind: Literal["request"]
    record: list[str]
    """Names and values of its fields, in turn."""
    texts: list[str]
    """Names and values of its texts, in turn."""
    payload: str
    """The hook call's body."""
    history: list[str]
    """The lines after its admission."""
    due: int | None
    """When it is due (ms since the epoch), None for never."""
    newest: bool
    """True if no newer request has its URL."""


class TicketIndex(TypedDict):
    """An index entry of a ticket."""

    kind: Literal["ticket"]
    ref: str
    """SYSTEM:ID or SYSTEM:KEY."""
    id: str
    """The correlation id of its request."""


class Stream(TypedDict):
    """Audit entries of one stream that are not sealed yet."""

    kind: Literal["stream"]
    name: str
    """The stream's short name."""
    entries: list[tuple[str, str, str]]
    """Position, correlation id and line of each entry."""
    last: str
    """The stream's last id, in its final item; empty before."""


class SharedItem(TypedDict):
    """A key that belongs to no partition."""

    kind: Literal["hash", "text"]
    name: str
    """The key without the namespace."""
    words: list[str]
    """A text, or names and values of a hash in turn."""
    until: int | None
    """When the key expires (ms since the epoch), None for never."""
    sealed: str
    """The hash's field that the key ring encrypts; of an encrypted text, any name; or empty."""


Item = RequestItem | TicketIndex | Stream | SharedItem

_TEXTS: Final = re.compile(r":(credentials|refused|exports|seen:.+)")
_HASHES: Final = re.compile(
    r":(routes|methods|pauses|changes|signing|audit)|\{:logins\}:refresh:.+"
)
_LEFT_OUT: Final = re.compile(r":(meta|alarms|(taking|token|turn):.+)|\{:logins\}:using:.+")
_OBSOLETE: Final = re.compile(r":(logins|(refresh|using):\{.+\})")  # no version reads these now
_SEALED: Final = {":credentials": "text", ":signing": "own", "{:logins}:refresh": "token"}
_SEALER: Final = ("owner", "until")  # the lease of the present sealer is not exported


async def items(store: RequestStore, ring: KeyRing) -> AsyncIterator[Item]:
    """Yield everything; a request may come twice, with the same content.

    Raises:
        ConfigurationError: something cannot be decrypted, or the kind of a key is unknown.
    """
    partition = re.compile(rf"\{{{re.escape(store.keys.namespace)}:\d+\}}:(\w+)(?::(.+))?")
    async for names in key_names(store):
        inside = {name: match for name in names if (match := partition.fullmatch(name))}
        ids = [match[2] for match in inside.values() if match[1] == "r"]
        for at in range(0, len(ids), _REQUESTS):
            for request in await _requests(store, ids[at : at + _REQUESTS]):
                yield request
        for ticket in await _tickets(store, [n for n, match in inside.items() if match[1] == "t"]):
            yield ticket
        streams = store.keys.streams().values()
        for shared in await _all_shared(store, ring, [*set(names) - inside.keys() - {*streams}]):
            yield shared
    async for stream in _streams(store):
        yield stream


async def _requests(store: RequestStore, ids: Sequence[str]) -> list[RequestItem]:
    commands: list[tuple[Any, ...]] = []
    for request in ids:
        tag = store.keys.tag_of(request)
        commands += [("HGETALL", f"{tag}:r:{request}"), ("HGETALL", f"{tag}:x:{request}")]
        commands += [("GET", f"{tag}:p:{request}"), ("LRANGE", f"{tag}:h:{request}", 0, -1)]
        commands += [("ZSCORE", f"{tag}:due", request)]
    answers = await store.batcher.commands(commands)
    items = [_request(store, id_, answers[at * 5 : at * 5 + 5]) for at, id_ in enumerate(ids)]
    urls = [dict(pairs(item["record"])).get("url", "") for item in items]
    newest = await store.batcher.commands(
        [("GET", f"{store.keys.tag_of(id_)}:u:{url}") for id_, url in zip(ids, urls, strict=True)]
    )
    for request, item, current in zip(ids, items, newest, strict=True):
        item["newest"] = current == request.encode()
    return items


def _request(store: RequestStore, correlation_id: str, stored: Sequence[Any]) -> RequestItem:
    record, texts, payload, history, due = stored
    tag = store.keys.tag_of(correlation_id)
    body = store.privacy.decrypt(payload or b"", f"{tag}:p:{correlation_id}")
    return RequestItem(
        kind="request",
        record=characters(flat(record)),
        texts=characters(store.decrypt_texts(tag, correlation_id, flat(texts))),
        payload=body.decode("latin-1"),
        history=characters(history),
        due=None if due is None else int(float(due)),
        newest=False,
    )


async def _tickets(store: RequestStore, names: Sequence[str]) -> list[TicketIndex]:
    ids = await store.batcher.commands([("GET", name) for name in names])
    return [
        TicketIndex(kind="ticket", ref=name.partition("}:t:")[2], id=request.decode())
        for name, request in zip(names, ids, strict=True)
        if request
    ]


async def _all_shared(store: RequestStore, ring: KeyRing, names: Sequence[str]) -> list[SharedItem]:
    items = []
    for name in names:
        relative = name.replace(store.keys.namespace, "", 1)
        if _HASHES.fullmatch(relative):
            fields = dict(pairs(flat(await store.batcher.command("HGETALL", name))))
            items.append(_hash(ring, name, relative, fields))
        elif _TEXTS.fullmatch(relative):
            text = await store.batcher.command("GET", name)
            if text is not None:  # else it has just expired
                items.append(_text(ring, name, relative, text, await _until(store, name)))
        elif not (_LEFT_OUT.fullmatch(relative) or _OBSOLETE.fullmatch(relative)):
            raise ConfigurationError(
                f"{name} is a key that this version does not know. Export with the version that"
                " wrote it."
            )
    return items


def _hash(ring: KeyRing, name: str, relative: str, fields: Mapping[bytes, bytes]) -> SharedItem:
    sealed = _sealed(relative)
    plain: list[bytes] = []
    for field, value in fields.items():
        if relative == ":audit" and field.decode() in _SEALER:
            continue
        plain += [field, ring.open(value, name=name) if field.decode() == sealed else value]
    return SharedItem(
        kind="hash", name=relative, words=characters(plain), until=None, sealed=sealed
    )


def _text(ring: KeyRing, name: str, relative: str, text: bytes, until: int | None) -> SharedItem:
    sealed = _sealed(relative)
    plain = ring.open(text, name=name) if sealed else text
    return SharedItem(
        kind="text", name=relative, words=characters([plain]), until=until, sealed=sealed
    )


def _sealed(relative: str) -> str:
    return next((field for begin, field in _SEALED.items() if relative.startswith(begin)), "")


async def _until(store: RequestStore, name: str) -> int | None:
    remaining = int(await store.batcher.command("PTTL", name))
    return None if remaining == _NO_EXPIRY else await store.now() + max(remaining, 1)


async def _streams(store: RequestStore) -> AsyncIterator[Stream]:
    """Yield the unsealed entries of every stream, page by page, then an item with its last id."""
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
