"""Encryption at rest: with a key ring, the store reveals nothing that people wrote.

The hook call and a record's texts are encrypted, each bound to the name of its Redis key. Equal
URLs and contents must still be found, so their digests are keyed: nobody can test guesses against a
copy of the store. Records, histories and indices stay in clear: states, ticket keys, who decided.
"""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from typing import Final, Self

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing

PLAIN: Final = "plain"
_MARK: Final = b"\x01"  # begins every encrypted value; no value in clear begins with it
_DIGITS: Final = 40
_BLOCK: Final = 64  # bytes that SHA-256 takes at once


@functools.lru_cache(maxsize=8)
def _keyed(key: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """Return both hashes of an HMAC (RFC 2104 2) after their key block.

    A hook call needs two HMACs; with `hmac`, which starts anew each time, they would cost more than
    its encryption.
    """
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


@dataclass(frozen=True, slots=True)
class Privacy:
    """The keys of a store; without a ring it is written in clear."""

    ring: KeyRing | None = None
    """Encrypts payloads, texts and alarms."""
    index_key: bytes | None = None
    """Keys the digests; it does not rotate, because another key finds no existing request."""
    placed_by: "Privacy | None" = None
    """Of a store imported under another index key, the first one: it still chooses partitions."""

    @property
    def indices(self) -> str:
        """A fingerprint of the index key, and of the key that chooses partitions."""
        own = self.digest(PLAIN)[:16] if self.index_key else PLAIN
        return f"{own}+{self.placed_by.indices}" if self.placed_by else own

    def with_plain_indices(self) -> Self:
        """Return a copy for a store whose indices were begun without a key."""
        return dataclasses.replace(self, index_key=None)

    def with_placement(self, key: bytes | None) -> Self:
        """Return a copy for a store whose partitions are chosen under that key, None for no key."""
        return dataclasses.replace(self, placed_by=Privacy(index_key=key))

    def digest(self, text: str) -> str:
        """Return the 40 hexadecimal digits under which a text is indexed or compared."""
        if self.index_key is None:
            return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
        inner, outer = (begun.copy() for begun in _keyed(self.index_key))
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()[:_DIGITS]

    def encrypt(self, plain: bytes, name: str) -> bytes:
        """Return a value as it is stored under the Redis key `name`."""
        return _MARK + self.ring.encrypt(plain, name=name) if self.ring else plain

    def decrypt(self, stored: bytes, name: str) -> bytes:
        """Return a value in clear that was stored under the Redis key `name`.

        Raises:
            ConfigurationError: its key is not in the ring, or it was changed or moved.
        """
        if not stored.startswith(_MARK):
            return stored
        if self.ring is None:
            raise ConfigurationError(
                f"{name} is encrypted, and the settings have no key to decrypt it. Restore the"
                " keys in encryption.keys."
            )
        return self.ring.decrypt(stored[len(_MARK) :], name=name)
