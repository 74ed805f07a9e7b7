"""A namespace as a whole: all its keys, its last changes, and the services that use it."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from proxy.errors import ConfigurationError
from proxy.store.keys import Keys
from proxy.store.queries import flat, pairs
from proxy.store.requests import RequestStore


async def key_names(store: RequestStore) -> AsyncIterator[list[str]]:
    """Yield the names of all keys, some at a time; one may come twice, as from SCAN."""
    namespace = store.keys.namespace
    own = (f"{namespace}:", f"{{{namespace}:")
    async for page in store.batcher.scan(f"*{namespace}:*"):
        if names := [name.decode() for name in page if name.decode().startswith(own)]:
            yield names


async def is_empty(store: RequestStore) -> bool:
    """Return True if the namespace has no key."""
    async for _ in key_names(store):
        return False
    return True


async def remove_all(store: RequestStore) -> None:
    """Remove every key except `meta`, which marks the import."""
    meta = store.keys.shared("meta")
    async for names in key_names(store):
        await store.batcher.commands([("UNLINK", name) for name in names if name != meta])


async def last_changes(store: RequestStore, keys: Keys) -> Mapping[str, str]:
    """Return the last id of each audit stream, trimmed entries included; they show any change."""
    streams = keys.streams()
    exist = await store.batcher.commands([("EXISTS", key) for key in streams.values()])
    names = [name for name, exists in zip(streams, exist, strict=True) if exists]
    infos = await store.batcher.commands([("XINFO", "STREAM", streams[name]) for name in names])
    return {
        name: dict(pairs(flat(info)))[b"last-generated-id"].decode()
        for name, info in zip(names, infos, strict=True)
    }


async def refuse_while_served(store: RequestStore) -> None:
    """Raise ConfigurationError if a service is connected, as far as the server shows that.

    Every process of a service names its connections; some managed servers do not list them.
    """
    name, connections = service_name(store.keys.namespace), 0
    with contextlib.suppress(ConfigurationError):
        for batcher in await store.batcher.nodes():
            clients = bytes(await batcher.command("CLIENT", "LIST")).decode()
            connections += clients.split().count(f"name={name}")
    if connections:
        raise ConfigurationError(
            f"a service uses store.namespace {store.keys.namespace} now ({connections} connections"
            " of it are open). Stop all its processes, and do this again."
        )


def service_name(namespace: str) -> str:
    """Return the client name of a service's connections."""
    return f"approval-proxy:{namespace}"
