"""The keys of the settings: they encrypt tokens and payloads, and sign the audit and receipts."""

from pathlib import Path
from typing import Final

from proxy.audit.sealer import AuditKeys
from proxy.security.key_ring import KeyRing, kept_key, read_key
from proxy.security.signing import key_set
from proxy.settings import Settings
from proxy.store.at_rest import Privacy
from proxy.store.requests import RequestStore
from proxy.store.signing_keys import open_signer, published_keys
from proxy.store.tokens import RedisTokens

_FOLDER_KEY: Final = "encryption"
_INDEX_KEY: Final = "index"


def key_ring(settings: Settings) -> KeyRing | None:
    """Return the encryption keys; the embedded server has one of its own in its data folder.

    That one stays in the ring when keys are configured, so that what it encrypted can be read.
    """
    keys = [(key.id, read_key(key.key.reveal())) for key in settings.encryption.keys]
    if settings.embedded:
        keys.append((_FOLDER_KEY, kept_key(Path(settings.store.folder) / f"{_FOLDER_KEY}.key")))
    return KeyRing(keys) if keys else None


def privacy(settings: Settings) -> Privacy:
    """Return the encryption of payloads, which have the same keys as tokens.

    Without a configured index key, the embedded server has one in its data folder.
    """
    index_key = settings.encryption.index_key
    if index_key is not None:
        return Privacy(key_ring(settings), read_key(index_key.reveal()))
    if settings.embedded:
        folder_key = kept_key(Path(settings.store.folder) / f"{_INDEX_KEY}.key")
        return Privacy(key_ring(settings), folder_key)
    return Privacy()


def open_tokens(settings: Settings, store: RequestStore) -> RedisTokens | None:
    """Return the store of shared tokens; None without a key to encrypt them."""
    ring = key_ring(settings)
    return RedisTokens(store, ring) if ring else None


async def open_audit_keys(settings: Settings, store: RequestStore) -> AuditKeys:
    """Return the keys that sign and encrypt the audit and the receipts."""
    ring = store.privacy.ring

    async def published() -> bytes:
        return key_set(await published_keys(store))

    keys = [key.reveal() for key in settings.signing.keys]
    return AuditKeys(signer=await open_signer(store, keys, ring), ring=ring, published=published)
