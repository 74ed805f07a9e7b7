"""The layout of a store: that it fits the settings, and how an imported store finds its keys."""

import base64
from typing import Final

import orjson

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing
from proxy.store.at_rest import PLAIN
from proxy.store.keys import Keys
from proxy.store.requests import LAYOUT, RequestStore

IMPORTING: Final = "importing"
"""Stored in place of the index key's fingerprint until an import is complete."""


class StoreLayout:
    """Checks what the `meta` key says about a store; every program does so when it starts."""

    def __init__(self, store: RequestStore) -> None:
        self._store = store
        self._call = store.batcher.command
        self._meta = store.keys.shared("meta")

    async def connect(self) -> None:
        """Check the layout against the settings and note the servers' run ids.

        Raises:
            ConfigurationError: the store was written with another number of partitions, with
                another index key, or by a version of this program that is too old or too new.
        """
        await self._read_placement()
        await self._check_index_key()
        await self._check_version()
        expected = self._store.keys.partitions
        await self._call("HSETNX", self._meta, "partitions", expected)
        stored = int(await self._call("HGET", self._meta, "partitions"))
        if stored != expected:
            raise ConfigurationError(
                f"store.partitions: the store has {stored}, the settings say {expected}. Set"
                f" store.partitions to {stored}; approval-proxy store export and import change it."
            )
        await self._store.refresh_run_ids()

    async def _read_placement(self) -> None:
        """Configure an imported store: the key of its partitions, and its earlier namespaces."""
        store = self._store
        placement, former = await self._call("HMGET", self._meta, "placement", "former")
        store.previous_namespaces = [Keys(*names) for names in orjson.loads(former or b"[]")]
        if not placement:
            return
        key, ring = None, store.privacy.ring
        if placement != PLAIN.encode():
            if ring is None:
                raise ConfigurationError(
                    "encryption.keys: the store is encrypted, and the settings have no key to"
                    " decrypt it. Restore the keys."
                )
            key = base64.b64decode(ring.open(placement, name=_placement_name(store)))
            if not ring.is_current(placement):  # else its old key could never be removed
                await self._call(
                    "HSET", self._meta, "placement", sealed_placement(store, ring, key)
                )
        store.privacy = store.privacy.with_placement(key)

    async def _check_version(self) -> None:
        """Accept a store of this version's layout, of the one before it, or of the one after it."""
        await self._call("HSETNX", self._meta, "layout", LAYOUT)
        stored = int(await self._call("HGET", self._meta, "layout"))
        if abs(stored - LAYOUT) > 1:
            raise ConfigurationError(
                f"store.namespace: the store has layout {stored}, and this version of the program"
                f" reads {LAYOUT - 1} to {LAYOUT + 1}. Install a version in between first."
            )
        if stored < LAYOUT:
            await self._call("HSET", self._meta, "layout", LAYOUT)

    async def _check_index_key(self) -> None:
        """Use the index key that the store was begun with: no other one finds its requests."""
        privacy = self._store.privacy
        begun, stored = await self._call("HMGET", self._meta, "partitions", "indices")
        if not stored:
            # written before the partitions are, so only an older store has those alone
            first = PLAIN if begun else privacy.indices
            await self._call("HSETNX", self._meta, "indices", first)
            stored = await self._call("HGET", self._meta, "indices")
        if stored.decode() == PLAIN:
            self._store.privacy = privacy.with_plain_indices()
        elif stored.startswith(IMPORTING.encode()):
            raise ConfigurationError(
                f"store.namespace: an import into {self._store.keys.namespace} was not finished."
                " Do it again: approval-proxy store import FILE"
            )
        elif stored.decode() != privacy.indices:
            raise ConfigurationError(
                "encryption.index_key: the store was begun with another index key, and this one"
                " finds none of its requests. Restore that key; or change it by an export and an"
                " import: with the old key, approval-proxy store export FILE; with the new one,"
                " approval-proxy store import FILE --replace."
            )


def sealed_placement(store: RequestStore, ring: KeyRing, key: bytes | None) -> str:
    """Return the key that chooses partitions as `meta` stores it; None for plain digests."""
    if key is None:
        return PLAIN
    return ring.seal(base64.b64encode(key), name=_placement_name(store)).decode()


def _placement_name(store: RequestStore) -> str:
    return f"{store.keys.shared('meta')}:placement"
