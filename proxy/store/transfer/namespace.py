"""A namespace as a whole: all its keys, what changed in it last, and whether a service uses it."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from proxy.errors import ConfigurationError
from proxy.store.keys import Keys
from proxy.store.queries import flat
from proxy.store.requests import RequestStore


async def key_names(store: RequestStore) -> AsyncIterator[list[str]]:
    """Yield the names of all keys, some at a time; one may come twice, as from SCAN."""
    namespace = store.keys.namespace
    own = (f"{namespace}:", f"{{{namespace}:")
    async for page in store.batcher.scan(f"*{namespace}:*"):
        if found := [name.decode() for name in page if name.decode().startswith(own)]:
            yield found


async def is_empty(store: RequestStore) -> bool:
    """Whether there is no key at all."""
    async for _ in key_names(store):
        return False
    return True


async def remove_all(store: RequestStore) -> None:
    """Remove every key but `meta`, which says that an import is under way."""
    meta = store.keys.shared("meta")
    async for names in key_names(store):
        await store.batcher.commands([("UNLINK", name) for name in names if name != meta])


async def last_changes(store: RequestStore, keys: Keys) -> Mapping[str, str]:
    """Return the last entry that each stream of the audit ever had: other ones, and it changed."""
    streams = keys.streams()
    there = await store.batcher.commands([("EXISTS", key) for key in streams.values()])
    some = [name for name, found in zip(streams, there, strict=True) if found]
    told = await store.batcher.commands([("XINFO", "STREAM", streams[name]) for name in some])
    return {name: _last_id(it) for name, it in zip(some, told, strict=True)}


def _last_id(told: Sequence[Any] | Mapping[bytes, Any]) -> str:
    words = flat(told)
    return words[words.index(b"last-generated-id") + 1].decode()


async def refuse_while_served(store: RequestStore) -> None:
    """Raise ConfigurationError if a service is connected, as far as the server tells.

    Every process of a service gives its connections a name; some managed servers tell no names.
    """
    name, found = service_name(store.keys.namespace), 0
    with contextlib.suppress(ConfigurationError):
        for batcher in await store.batcher.nodes():
            clients = bytes(await batcher.command("CLIENT", "LIST")).decode()
            found += clients.split().count(f"name={name}")
    if found:
        raise ConfigurationError(
            f"a service uses store.namespace {store.keys.namespace} now ({found} connections of it"
            " are open). Stop all its processes, and do this again."
        )


def service_name(namespace: str) -> str:
    """Return what the connections of a service are called at the server."""
    return f"approval-proxy:{namespace}"
