"""Encryption at rest: AES-256-GCM with a ring of keys, each value bound to a name.

The name is where the value is stored, such as a Redis key, and is authenticated. So read access to
the store, or to a copy of it, does not reveal a token, and write access does not allow changing a
value or moving it elsewhere. An attacker with write access can still restore an older value under
the same name; a store alone cannot detect that.
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
_BLOCK: Final = 128  # nonces that are generated at once
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_nonces: Final[list[bytes]] = []
# a nonce must not be used twice with one key, so a forked process generates its own
os.register_at_fork(after_in_child=_nonces.clear)


def _nonce() -> bytes:
    """Return 96 random bits that no other thread has been given.

    They are generated in blocks: one system call for each nonce cost 1 % of the total CPU time.
    """
    try:
        return _nonces.pop()  # atomic, so no lock is needed
    except IndexError:
        block = secrets.token_bytes(_BLOCK * _NONCE_BYTES)
        drawn = [block[at : at + _NONCE_BYTES] for at in range(0, len(block), _NONCE_BYTES)]
        nonce = drawn.pop()
        _nonces.extend(drawn)
        return nonce


class KeyRing:
    """Keys by id: the first one encrypts, all of them decrypt, so that a key can be replaced."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Take (id, 32 bytes) pairs; raises ConfigurationError if they are not usable."""
        if not keys:
            raise ConfigurationError("encryption: no key is set. Add one to encryption.keys.")
        self._ciphers: dict[str, AESGCM] = {}
        for key_id, key in keys:
            if not _ID.fullmatch(key_id):
                raise ConfigurationError(
                    f"encryption: {key_id!r} is not a key id. Use 1 to 64 letters, digits, - and _."
                )
            if key_id in self._ciphers:
                raise ConfigurationError(f"encryption: two keys have the id {key_id}. Rename one.")
            if len(key) != KEY_BYTES:
                raise ConfigurationError(
                    f"encryption: key {key_id} has {len(key)} bytes, not {KEY_BYTES}. Make a new"
                    " one."
                )
            self._ciphers[key_id] = AESGCM(key)
        self._first = keys[0][0]

    def missing(self, sealed: bytes) -> str:
        """Return the id of the key that encrypted a value, if the ring does not have it, or ""."""
        key_id = sealed.partition(b".")[0].decode("ascii", "replace")
        return key_id if _ID.fullmatch(key_id) and key_id not in self._ciphers else ""

    def seal(self, plain: bytes, *, name: str) -> bytes:
        """Encrypt a value with the first key, bound to the name under which it is stored.

        The result is ASCII text: the id of the key, a dot, and base64.
        """
        key_id, _, rest = self.encrypt(plain, name=name).partition(b".")
        return key_id + b"." + base64.urlsafe_b64encode(rest)

    def open(self, sealed: bytes, *, name: str) -> bytes:
        """Decrypt a value that was sealed for this name.

        Raises:
            ConfigurationError: the key is not in the ring, or the value was changed or moved.
        """
        key_id, _, text = sealed.partition(b".")
        try:
            rest = base64.b64decode(text, altchars=b"-_", validate=True)
        except ValueError:
            rest = b""  # decrypting reports it as a changed value
        return self.decrypt(key_id + b"." + rest, name=name)

    def is_current(self, sealed: bytes) -> bool:
        """True if the first key encrypted the value, so that it does not need the other keys."""
        return sealed.startswith(f"{self._first}.".encode())

    def encrypt(self, plain: bytes, *, name: str) -> bytes:
        """Encrypt like `seal`, but to bytes without base64, which take less space in Redis."""
        nonce, key_id = _nonce(), self._first
        secret = self._ciphers[key_id].encrypt(nonce, plain, _context(key_id, name))
        return b"".join((key_id.encode(), b".", nonce, secret))

    def decrypt(self, encrypted: bytes, *, name: str) -> bytes:
        """Decrypt a value of `encrypt` for this name; raises the errors of `open`."""
        prefix, _, rest = encrypted.partition(b".")
        key_id = prefix.decode("ascii", "replace")
        if not _ID.fullmatch(key_id):
            raise ConfigurationError(f"{name} is not an encrypted value. Delete it.")
        if key_id not in self._ciphers:
            raise ConfigurationError(
                f"{name} was encrypted with the key {key_id}, which is not in the key ring. Put"
                " it back into encryption.keys, or delete the value."
            )
        try:
            nonce, secret = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
            return self._ciphers[key_id].decrypt(nonce, secret, _context(key_id, name))
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            raise ConfigurationError(
                f"{name} cannot be decrypted with the key {key_id}: the value was changed or"
                " moved, or another key has this id. Correct the key, or delete the value."
            ) from None


def new_key() -> str:
    """Return a new random key in base64, the form that the settings expect."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read_key(text: str) -> bytes:
    """Return the bytes of a key in base64; raises ConfigurationError, without quoting the key."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:  # not base64, or not even ASCII
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"an encryption key must be {KEY_BYTES} random bytes in base64. Make one with"
            " approval-proxy keys new --encryption."
        )
    return key


def kept_key(path: Path) -> bytes:
    """Return the key in a file; create a file for its owner alone if there is none.

    Raises:
        ConfigurationError: other users can read the file, or it does not hold a key.
    """
    if not path.exists():
        watched_files.replace(path, new_key().encode())
        # otherwise a power cut could keep the store and lose its key
        watched_files.keep_names(path.parent)
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(
            f"{path} can be read by users other than its owner. Run chmod 600 {path}; if somebody"
            " has read it, delete it and log in again (approval-proxy login)."
        )
    try:
        return read_key(path.read_text())
    except (ConfigurationError, UnicodeDecodeError):
        raise ConfigurationError(
            f"{path} does not hold an encryption key. Restore it from a backup; or delete it, and"
            " log in again (approval-proxy login)."
        ) from None


def _context(key_id: str, name: str) -> bytes:
    """Return the associated data, which is authenticated but not encrypted."""
    return f"{key_id}:{name}".encode()
