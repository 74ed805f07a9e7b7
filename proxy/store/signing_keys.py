"""Our own signing key where none is configured, shared by all processes; and every public key."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from proxy.security.key_ring import KeyRing
from proxy.security.signing import Signer, new_signing_key, signer
from proxy.store.queries import flat
from proxy.store.requests import RequestStore

_OWN = "own"
_PUBLIC = "public:"


async def open_signer(
    store: RequestStore, configured: Sequence[str], ring: KeyRing | None
) -> Signer | None:
    """Return what signs: the configured keys, else one that is kept in the store, encrypted.

    Its public keys are published under their `kid` for good. None where there is neither a
    configured key nor one to encrypt our own with.

    Raises:
        ConfigurationError: a key cannot be used, or what is kept does not decrypt.
    """
    keys = list(configured)
    if not keys and ring:
        keys = [await _own(store, ring)]
    if not keys:
        return None
    found = signer(keys)
    place = store.keys.shared("signing")
    for kid, public in found.published.items():
        await store.batcher.command("HSETNX", place, _PUBLIC + kid, orjson.dumps(public))
    return found


async def published_keys(store: RequestStore) -> Mapping[str, Mapping[str, Any]]:
    """Return the public half of every key that ever signed here, by `kid`."""
    words = flat(await store.batcher.command("HGETALL", store.keys.shared("signing")))
    pairs = zip(words[::2], words[1::2], strict=True)
    return {
        name.decode().removeprefix(_PUBLIC): orjson.loads(text)
        for name, text in pairs
        if name.decode().startswith(_PUBLIC)
    }


async def _own(store: RequestStore, ring: KeyRing) -> str:
    place = store.keys.shared("signing")
    sealed = ring.seal(new_signing_key().encode(), name=place)
    await store.batcher.command("HSETNX", place, _OWN, sealed)
    kept = await store.batcher.command("HGET", place, _OWN)
    own = ring.open(kept, name=place)
    if not ring.is_current(kept):  # else the key that it is under could never go
        await store.batcher.command("HSET", place, _OWN, ring.seal(own, name=place))
    return own.decode()
