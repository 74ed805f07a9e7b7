"""Events that come with a JWT: the keys that may have signed it, and its required claims.

The algorithms are those of the settings, never those of the token (RFC 8725 3.1), and a secret is
never tried as a public key or the other way round. A token does not cover the body: anybody who saw
one can send other events with it until it expires. That is acceptable, as an event is only a hint.
"""

import warnings
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.tickets.events.declaration import Events
from proxy.tickets.events.proofs import Secrets, single_header

if TYPE_CHECKING:  # joserfc is slow to import, and most systems do not send tokens
    from joserfc.jwk import Key

LONGEST_TOKEN: Final = 8_192
MOST_KEYS: Final = 16
_DOTS: Final = 2  # of a signed token in compact form (RFC 7515 7.1)
_SKEW: Final = 60  # seconds that the clocks of both sides may differ


def token_of(headers: Mapping[str, str], events: Events) -> str:
    """Return the token in the header of an event, empty if it has none."""
    presented = single_header(headers, events.header) or ""
    scheme, _, token = presented.rpartition(" ")
    token = token.removeprefix(events.prefix)
    is_bearer = scheme.lower().strip() in {"", "bearer", "jwt"}
    return token if is_bearer and token.count(".") == _DOTS and len(token) <= LONGEST_TOKEN else ""


class SignedToken:
    """Proof by a JWT that is signed with a secret or a published key."""

    def __init__(self, events: Events, secrets: Secrets) -> None:
        self._events = events
        self._secrets = secrets
        self._algorithms = list(events.token.algorithms)

    def is_valid(self, headers: Mapping[str, str], body: bytes, *, now: int) -> bool:  # noqa: ARG002
        """Return True if the token is signed with a live key, is for us, and is valid now."""
        token = token_of(headers, self._events)
        read = published_keys if self._events.token.is_public else _secret_keys
        kid = key_id(token)
        matches = [
            self._is_signed_with(token, key, now)
            for secret in self._secrets()
            for key in read(secret)
            if not kid or key.kid in {None, kid}
        ]
        return any(matches)

    def _is_signed_with(self, token: str, key: "Key", now: int) -> bool:
        from joserfc import jwt  # noqa: PLC0415

        try:
            with without_length_warnings():
                decoded = jwt.decode(token, key, algorithms=self._algorithms)
            return self._claims_match(decoded.header, decoded.claims, now // 1_000)
        except Exception:  # noqa: BLE001 - any error that a hostile token causes makes it invalid
            return False

    def _claims_match(self, header: Mapping[str, Any], claims: Mapping[str, Any], now: int) -> bool:
        expected = self._events.token
        kind = str(header.get("typ", "")).lower().removeprefix("application/")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        return (
            kind == expected.type.lower()
            and (expected.issuer is None or claims.get("iss") == expected.issuer)
            and (expected.audience is None or expected.audience in audiences)
            and _number(claims["exp"]) + _SKEW >= now
            and _number(claims.get("nbf", 0)) - _SKEW <= now
            and _number(claims.get("iat", 0)) - _SKEW <= now
        )


def _number(claim: Any) -> float:
    """Return a time in seconds; NaN, for which no comparison is true, for anything else."""
    right = isinstance(claim, int | float) and not isinstance(claim, bool)
    return float(claim) if right else float("nan")


def key_id(token: str) -> str:
    """Return the key id that a token claims to be signed with; nothing proves it yet."""
    try:
        header = orjson.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
        return str(header.get("kid", ""))
    except (ValueError, AttributeError):
        return ""


@lru_cache(maxsize=64)
def published_keys(document: bytes) -> tuple["Key", ...]:
    """Return the public keys in a key set (RFC 7517 5) that verify signatures."""
    from joserfc.jwk import KeySet  # noqa: PLC0415

    try:
        listed = orjson.loads(document)["keys"][:MOST_KEYS]
        public = [
            key for key in listed if key.get("use", "sig") == "sig" and key.get("kty") != "oct"
        ]
        return tuple(KeySet.import_key_set({"keys": public}))
    except Exception:  # noqa: BLE001 - the other side may publish anything
        return ()


@lru_cache(maxsize=64)
def _secret_keys(secret: bytes) -> tuple["Key", ...]:
    """Return the key in a secret; none if joserfc refuses it."""
    from joserfc.jwk import OctKey  # noqa: PLC0415

    try:
        with without_length_warnings():
            return (OctKey.import_key(secret),)
    except ValueError:
        return ()


@contextmanager
def without_length_warnings() -> Iterator[None]:
    """Suppress joserfc's warning about a short secret: the other side chose its length."""
    from joserfc.errors import SecurityWarning  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield
