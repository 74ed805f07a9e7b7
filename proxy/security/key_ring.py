"""Secrets at rest: AES-256-GCM under a ring of keys, each value bound to the place it is kept at.

What can read the store, or a copy of it, reads no token; what can write to it can neither change a
value nor move it to another key (the place is authenticated). An attacker who can write may still
put back an older value of the same place: that is what a store without a witness cannot notice.
"""

import base64
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.errors import ConfigurationError
from proxy.security import watched_files

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # random 96 bits: safe for 2^32 values under one key (NIST SP 800-38D 8.3)
_BLOCK: Final = 128  # nonces that are drawn at once
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


_nonces: Final[list[bytes]] = []
# no nonce twice under one key: a process that was forked off draws its own
os.register_at_fork(after_in_child=_nonces.clear)


def _nonce() -> bytes:
    """Return 96 random bits that were never returned before, to whichever thread asks.

    They are drawn in blocks: asking the operating system for each was 1 % of all work.
    """
    try:
        return _nonces.pop()  # one operation, also between threads
    except IndexError:
        block = secrets.token_bytes(_BLOCK * _NONCE_BYTES)
        drawn = [block[at : at + _NONCE_BYTES] for at in range(0, len(block), _NONCE_BYTES)]
        nonce = drawn.pop()
        _nonces.extend(drawn)
        return nonce


class KeyRing:
    """Keys by id: the first one encrypts, all of them decrypt, so a key can be replaced gently."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Take (id, 32 bytes) pairs; raises ConfigurationError for what cannot be a ring."""
        if not keys:
            raise ConfigurationError("encryption: there is no key. Add one.")
        self._ciphers: dict[str, AESGCM] = {}
        for name, key in keys:
            if not _ID.fullmatch(name):
                raise ConfigurationError(
                    f"encryption: {name!r} is no key id. Use 1 to 64 letters, digits, - and _."
                )
            if name in self._ciphers:
                raise ConfigurationError(f"encryption: two keys have the id {name}. Rename one.")
            if len(key) != KEY_BYTES:
                raise ConfigurationError(
                    f"encryption: key {name} has {len(key)} bytes, not {KEY_BYTES}. Make a new one."
                )
            self._ciphers[name] = AESGCM(key)
        self._first = keys[0][0]

    def missing(self, sealed: bytes) -> str:
        """Return the id of the key that a value says it is under, if it is not in the ring."""
        name = sealed.partition(b".")[0].decode("ascii", "replace")
        return name if _ID.fullmatch(name) and name not in self._ciphers else ""

    def seal(self, plain: bytes, *, place: str) -> bytes:
        """Encrypt under the first key, for one place: the name of the Redis key it is kept at.

        Returns text, which can stand anywhere: the key's id, a dot, base64.
        """
        id_, _, whole = self.encrypt(plain, place=place).partition(b".")
        return id_ + b"." + base64.urlsafe_b64encode(whole)

    def open(self, sealed: bytes, *, place: str) -> bytes:
        """Decrypt what was sealed for this place.

        Raises:
            ConfigurationError: the key is not in the ring, or the value was changed or moved.
        """
        id_, _, text = sealed.partition(b".")
        try:
            whole = base64.b64decode(text, altchars=b"-_", validate=True)
        except ValueError:
            whole = b""  # as wrong as any other value that was changed
        return self.decrypt(id_ + b"." + whole, place=place)

    def is_current(self, sealed: bytes) -> bool:
        """Whether a value is under the first key, so that the others may go."""
        return sealed.startswith(f"{self._first}.".encode())

    def encrypt(self, plain: bytes, *, place: str) -> bytes:
        """Do as `seal`, with bytes in place of base64: shorter, for what Redis alone sees."""
        nonce, name = _nonce(), self._first
        hidden = self._ciphers[name].encrypt(nonce, plain, _bound(name, place))
        return b"".join((name.encode(), b".", nonce, hidden))

    def decrypt(self, encrypted: bytes, *, place: str) -> bytes:
        """Return what was encrypted for this place; raises as `open` does."""
        id_, _, whole = encrypted.partition(b".")
        name = id_.decode("ascii", "replace")
        if not _ID.fullmatch(name):
            raise ConfigurationError(f"{place} holds nothing that was encrypted here. Delete it.")
        if name not in self._ciphers:
            raise ConfigurationError(
                f"{place} was encrypted with the key {name}, which is not in the key ring. Put it"
                " back into encryption.keys, or delete the value."
            )
        try:
            nonce, hidden = whole[:_NONCE_BYTES], whole[_NONCE_BYTES:]
            return self._ciphers[name].decrypt(nonce, hidden, _bound(name, place))
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            raise ConfigurationError(
                f"{place} does not decrypt with the key {name}: the value was changed or moved, or"
                " another key has this id. Correct the key, or delete the value."
            ) from None


def new_key() -> str:
    """Return a fresh random key, in base64 as the settings take it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read_key(text: str) -> bytes:
    """Return the bytes of a key given in base64; raises ConfigurationError, without quoting it."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:  # no base64, or not even ASCII
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"an encryption key must be {KEY_BYTES} random bytes in base64. Make one with"
            " approval-proxy keys new --encryption."
        )
    return key


def kept_key(path: Path) -> bytes:
    """Return the key in a file; the first time, make both. The file is for its owner alone.

    Raises:
        ConfigurationError: others may read the file, or it holds no key.
    """
    if not path.exists():
        watched_files.replace(path, new_key().encode())
        watched_files.keep_names(
            path.parent
        )  # else a power cut might keep the store and lose its key
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(
            f"{path} may be read by others than its owner. Say chmod 600 {path}; if they have read"
            " it, delete it as well and log in again where that is needed."
        )
    try:
        return read_key(path.read_text())
    except (ConfigurationError, UnicodeDecodeError):
        raise ConfigurationError(
            f"{path} holds no encryption key any more. Put it back from a backup; or delete it,"
            " and log in again where that is needed."
        ) from None


def _bound(name: str, place: str) -> bytes:
    return f"{name}:{place}".encode()
