"""Proofs of an event's origin: an HMAC, an Ed25519 signature, or a shared secret.

If possible the presented proof is not decoded: the expected one is computed and compared with it in
constant time, so a malformed proof is simply a wrong one.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from typing_extensions import override

from proxy.tickets.events.declaration import Events

MOST_SIGNATURES: Final = 8
_PLACEHOLDER: Final = re.compile(r"(\{timestamp\}|\{id\}|\{body\})")
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_MAC_BYTES: Final = range(24, 65)  # of a Standard Webhooks secret
_PUBLIC_KEY_BYTES: Final = 32

Secrets = Callable[[], Sequence[bytes]]
"""Returns the secrets that are live now, in any order."""


class Proof(Protocol):
    """One way of proving an event."""

    def is_valid(self, headers: Mapping[str, str], body: bytes, *, now: int) -> bool:
        """Return True if the sender of the event knows a live secret; `now` is in milliseconds."""
        ...


class Key(Protocol):
    """A key that verifies signatures."""

    def verify(self, message: bytes, presented: bytes) -> bool:
        """Return True if the presented text is this key's signature of the message."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class HmacKey(Key):
    """An HMAC key (RFC 2104)."""

    secret: bytes
    algorithm: str
    prefix: bytes
    encode: Callable[[bytes], bytes]

    def signature(self, message: bytes) -> bytes:
        """Return the signature of a message, as it is written in the header."""
        mac = hmac.new(self.secret, message, getattr(hashlib, self.algorithm)).digest()
        return self.prefix + self.encode(mac)

    @override
    def verify(self, message: bytes, presented: bytes) -> bool:
        """Compute the signature and compare."""
        return hmac.compare_digest(self.signature(message), presented)


@dataclass(frozen=True, slots=True, repr=False)
class PublicKey(Key):
    """The public half of an Ed25519 key (RFC 8032)."""

    key: Ed25519PublicKey
    prefix: bytes
    decode: Callable[[bytes], bytes]

    @override
    def verify(self, message: bytes, presented: bytes) -> bool:
        """Verify the signature; a malformed one is wrong."""
        try:
            self.key.verify(self.decode(presented.removeprefix(self.prefix)), message)
        except (InvalidSignature, ValueError):
            return False
        return presented.startswith(self.prefix)


def read_key(secret: bytes, events: Events) -> Key:
    """Return the key that a secret of the settings encodes.

    Raises:
        ValueError: it does not have the form of `key_format`; the message never quotes it.
    """
    match events.key_format:
        case "standard_webhooks":
            return _standard_key(secret)
        case "text":
            material = secret
        case "hex":
            material = _from_hex(secret)
        case "base64":
            material = _from_base64(secret)
    prefix, as_hex = events.prefix.encode(), events.encoding == "hex"
    if events.algorithm == "ed25519":
        return PublicKey(_ed25519(material), prefix, _from_hex if as_hex else _from_base64)
    encode = binascii.hexlify if as_hex else base64.b64encode
    return HmacKey(material, events.algorithm, prefix, encode)


def _standard_key(secret: bytes) -> Key:
    """Read `whsec_...`, a secret, or `whpk_...`, a public key, of Standard Webhooks 1.0.0."""
    kind, _, text = secret.partition(b"_")
    if kind == b"whsec":
        material = _from_base64(text)
        if len(material) not in _MAC_BYTES:
            raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
        return HmacKey(material, "sha256", b"v1,", base64.b64encode)
    if kind == b"whpk":
        return PublicKey(_ed25519(_from_base64(text)), b"v1a,", _from_base64)
    raise ValueError("must begin with whsec_ (a secret) or whpk_ (a public key)")


def _ed25519(material: bytes) -> Ed25519PublicKey:
    if len(material) != _PUBLIC_KEY_BYTES:
        raise ValueError(f"must be a public key of {_PUBLIC_KEY_BYTES} bytes")
    return Ed25519PublicKey.from_public_bytes(material)


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error


def _from_hex(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text)
    except binascii.Error as error:
        raise ValueError("is not a hexadecimal number") from error


class Signature:
    """A signature over time, id and body."""

    def __init__(self, events: Events, secrets: Secrets) -> None:
        self._events = events
        self._secrets = secrets
        self._parts = _PLACEHOLDER.split(events.signed)
        self._key = lru_cache(maxsize=64)(lambda secret: read_key(secret, events))

    def is_valid(self, headers: Mapping[str, str], body: bytes, *, now: int) -> bool:
        """Return True if the event is timely and signed with a live key."""
        presented = single_header(headers, self._events.header)
        message = self.message(headers, body)
        if presented is None or message is None or not self._is_timely(headers, now):
            return False
        candidates = self._candidates(presented)
        # a list, not a generator: the time it takes must not reveal which key was close
        matches = [
            key.verify(message, candidate) for key in self._keys() for candidate in candidates
        ]
        return any(matches)

    def _keys(self) -> list[Key]:
        """Return the live keys; a file that was replaced by something else has none."""
        keys = []
        for secret in self._secrets():
            try:
                keys.append(self._key(secret))
            except ValueError:
                continue
        return keys

    def _is_timely(self, headers: Mapping[str, str], now: int) -> bool:
        if self._events.timestamp_header is None:
            return True
        return is_timely(self._events, single_header(headers, self._events.timestamp_header), now)

    def _candidates(self, presented: str) -> list[bytes]:
        """Return the presented signatures; Standard Webhooks sends several, separated by spaces."""
        texts = presented.split(" ")[:MOST_SIGNATURES]
        if self._events.encoding == "hex":
            prefix = len(self._events.prefix)
            texts = [text[:prefix] + text[prefix:].lower() for text in texts]
        return [as_bytes(text) for text in texts]

    def message(self, headers: Mapping[str, str], body: bytes) -> bytes | None:
        """Return the text that must be signed; None if one of its headers is missing."""
        message = b""
        for part, following in zip(self._parts, [*self._parts[1:], ""], strict=True):
            match part:
                case "{body}":
                    message += body
                    continue
                case "{timestamp}":
                    text = single_header(headers, self._events.timestamp_header or "")
                case "{id}":
                    text = single_header(headers, self._events.id_header or "")
                    if text is not None and following and following in text:
                        return None  # the end of the id would be ambiguous
                case _:
                    text = part
            if text is None:
                return None
            message += as_bytes(text)
        return message


class PresentedSecret:
    """Proof by a shared secret in a header: a fixed value, or user and password."""

    def __init__(self, events: Events, secrets: Secrets) -> None:
        self._events = events
        self._secrets = secrets

    def is_valid(self, headers: Mapping[str, str], body: bytes, *, now: int) -> bool:  # noqa: ARG002
        """Return True if the header has one of the live secrets."""
        presented = single_header(headers, self._events.header)
        if presented is None:
            return False
        if self._events.auth == "basic":
            scheme, _, proof = presented.partition(" ")
            presented = f"{scheme.lower()} {proof.strip()}"
        matches = [
            hmac.compare_digest(self.expected(secret), as_bytes(presented))
            for secret in self._secrets()
        ]
        return any(matches)

    def expected(self, secret: bytes) -> bytes:
        """Return the header of a sender that knows the secret."""
        if self._events.auth == "basic":
            return b"basic " + base64.b64encode(secret)
        return self._events.prefix.encode() + secret


def is_timely(events: Events, written: Any, now: int) -> bool:
    """Return True if the time in an event is close enough to `now` (milliseconds)."""
    moment = _MOMENTS[events.timestamp_format](str(written))
    return moment is not None and abs(now - moment) <= events.tolerance


def single_header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header that occurs exactly once: of two, two readers could use different ones."""
    values = [value for key, value in headers.items() if key.lower() == name.lower()]
    return values[0].strip(" \t") if len(values) == 1 else None


def as_bytes(text: str) -> bytes:
    """Return a header's text as bytes, whatever it is."""
    return text.encode("utf-8", "surrogatepass")


def _whole_number(text: str, unit: int) -> int | None:
    return int(text) * unit if re.fullmatch(r"[0-9]{1,15}", text) else None


def _rfc3339(text: str) -> int | None:
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return round(datetime.fromisoformat(text.upper()).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None


_MOMENTS: Final[Mapping[str, Callable[[str], int | None]]] = {
    "seconds": lambda text: _whole_number(text, 1_000),
    "milliseconds": lambda text: _whole_number(text, 1),
    "rfc3339": _rfc3339,
}
