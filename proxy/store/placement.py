"""A store that was imported: what chose its partitions first, and under which names it lay."""

import base64
from typing import Final

import orjson

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing
from proxy.store.at_rest import PLAIN
from proxy.store.keys import Keys
from proxy.store.requests import RequestStore

IMPORTING: Final = "importing"
"""Begins what stands in place of the mark of the index key until everything is there."""


async def go_on_where_imported(store: RequestStore) -> None:
    """Let a store choose partitions, and read what lay elsewhere, as it must after an import.

    Raises:
        ConfigurationError: what chooses partitions cannot be decrypted.
    """
    meta, call = store.keys.shared("meta"), store.batcher.command
    placement, former = await call("HMGET", meta, "placement", "former")
    store.previous_namespaces = [Keys(*it) for it in orjson.loads(former or b"[]")]
    if not placement:
        return
    key, ring = None, store.privacy.ring
    if placement != PLAIN.encode():
        if ring is None:
            raise ConfigurationError(
                "encryption.keys: the store is encrypted, and there is no key to read it with. Put"
                " the keys back."
            )
        key = base64.b64decode(ring.open(placement, place=_place(store)))
        if not ring.is_current(placement):  # else the key that it is under could never go
            await call("HSET", meta, "placement", written_placement(store, ring, key))
    store.privacy = store.privacy.with_placement(key)


def written_placement(store: RequestStore, ring: KeyRing, key: bytes | None) -> str:
    """Return what says by which key partitions are chosen, None for digests without one."""
    return PLAIN if key is None else ring.seal(base64.b64encode(key), place=_place(store)).decode()


def _place(store: RequestStore) -> str:
    return f"{store.keys.shared('meta')}:placement"
