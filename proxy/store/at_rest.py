"""What the store shows of what people wrote: nothing, where there is a key ring.

The hook call and the texts beside a record are encrypted, each for the key it lies at. Equal URLs
and equal contents must still be found, so their digests are keyed: who holds a copy of the store
cannot try out guesses. Records, histories and indices keep states, keys of tickets and who decided.
"""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from typing import Final, Self

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing

PLAIN: Final = "plain"
_MARK: Final = b"\x01"  # begins what is encrypted; nothing that is kept in clear begins with it
_DIGITS: Final = 40
_BLOCK: Final = 64  # bytes that SHA-256 takes at once


@functools.lru_cache(maxsize=8)
def _keyed(key: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """Return both hashes of an HMAC (RFC 2104 2) after their key: two are made per hook call.

    `hmac` would begin anew each time, for more than the hook call's encryption.
    """
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


@dataclass(frozen=True, slots=True)
class Privacy:
    """What hides and shows; without a ring everything lies in clear, and old values still open.

    `index_key` does not rotate with the ring: under another one, nothing would be found again. A
    store that was imported under another one is `placed_by` the first: it still chooses partitions,
    as correlation ids do, and nothing else.
    """

    ring: KeyRing | None = None
    index_key: bytes | None = None
    placed_by: "Privacy | None" = None

    @property
    def indices(self) -> str:
        """Return what tells one index key from another, and from none; with what places by."""
        own = self.digest(PLAIN)[:16] if self.index_key else PLAIN
        return f"{own}+{self.placed_by.indices}" if self.placed_by else own

    def with_plain_indices(self) -> Self:
        """Return this for a store whose indices were begun without a key."""
        return dataclasses.replace(self, index_key=None)

    def with_placement(self, key: bytes | None) -> Self:
        """Return this for a store whose partitions are chosen under that key, None for none."""
        return dataclasses.replace(self, placed_by=Privacy(index_key=key))

    def digest(self, text: str) -> str:
        """Return the 40 hexadecimal digits under which a text is indexed or compared."""
        if self.index_key is None:
            return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
        inner, outer = (begun.copy() for begun in _keyed(self.index_key))
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()[:_DIGITS]

    def encrypt(self, plain: bytes, place: str) -> bytes:
        """Return what is kept at a place, the name of its Redis key."""
        return _MARK + self.ring.encrypt(plain, name=place) if self.ring else plain

    def decrypt(self, kept: bytes, place: str) -> bytes:
        """Return what was hidden.

        Raises:
            ConfigurationError: its key is not in the ring, or it was changed or moved.
        """
        if not kept.startswith(_MARK):
            return kept
        if self.ring is None:
            raise ConfigurationError(
                f"{place} is encrypted, and there is no key to read it with. Put the keys back into"
                " encryption.keys."
            )
        return self.ring.decrypt(kept[len(_MARK) :], name=place)
