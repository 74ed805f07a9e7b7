"""API keys: made here, given to a client, and known to us by their hash alone."""

import hashlib
import secrets


def new_key() -> str:
    """Return a new key with 256 random bits; its beginning lets scanners recognise a leaked one."""
    return f"ap_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """Return what the settings keep of a key.

    A plain SHA-256 is enough, because nobody can guess 256 random bits as they guess passwords.
    """
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
