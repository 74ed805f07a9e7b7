"""The signing key of all processes if none is configured, and every public key ever used."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from proxy.security.key_ring import KeyRing
from proxy.security.signing import Signer, new_signing_key, signer
from proxy.store.queries import flat, pairs
from proxy.store.requests import RequestStore

_OWN = "own"
_PUBLIC = "public:"


async def open_signer(
    store: RequestStore, configured: Sequence[str], ring: KeyRing | None
) -> Signer | None:
    """Return the signer with the configured keys, else with one stored encrypted in the store.

    Its public keys stay published under their `kid`. None if no key is configured and there is no
    ring to encrypt a stored key.

    Raises:
        ConfigurationError: a key cannot be used, or the stored one cannot be decrypted.
    """
    keys = list(configured)
    if not keys and ring:
        keys = [await _own(store, ring)]
    if not keys:
        return None
    opened = signer(keys)
    name = store.keys.shared("signing")
    for kid, public in opened.published.items():
        await store.batcher.command("HSETNX", name, _PUBLIC + kid, orjson.dumps(public))
    return opened


async def published_keys(store: RequestStore) -> Mapping[str, Mapping[str, Any]]:
    """Return the public key of every signing key that was ever used here, by `kid`."""
    fields = flat(await store.batcher.command("HGETALL", store.keys.shared("signing")))
    return {
        name.decode().removeprefix(_PUBLIC): orjson.loads(text)
        for name, text in pairs(fields)
        if name.decode().startswith(_PUBLIC)
    }


async def _own(store: RequestStore, ring: KeyRing) -> str:
    name = store.keys.shared("signing")
    sealed = ring.seal(new_signing_key().encode(), name=name)
    await store.batcher.command("HSETNX", name, _OWN, sealed)
    stored = await store.batcher.command("HGET", name, _OWN)
    own = ring.open(stored, name=name)
    if not ring.is_current(stored):  # else its old key could never be removed
        await store.batcher.command("HSET", name, _OWN, ring.seal(own, name=name))
    return own.decode()
