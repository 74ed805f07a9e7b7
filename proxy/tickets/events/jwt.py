"""Events that come with a JWT: which keys may have signed it, and what it must say.

The algorithms are those of the settings, never those of the token (RFC 8725 3.1), and a secret is
never tried as a public key or the other way round. A token covers no body: whoever saw one can send
other events with it until it ends. That is bearable because an event is only a hint.
"""

import warnings
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import Key, KeySet, OctKey

from proxy.tickets.events.declaration import Events
from proxy.tickets.events.proofs import Secrets, only

LONGEST_TOKEN: Final = 8_192
MOST_KEYS: Final = 16
_DOTS: Final = 2  # of a signed token in compact form (RFC 7515 7.1)
_SKEW: Final = 60  # seconds that the clocks of both sides may differ


def token_of(headers: Mapping[str, str], events: Events) -> str:
    """Return the token that an event shows, empty if it shows none."""
    presented = only(headers, events.header) or ""
    scheme, _, token = presented.rpartition(" ")
    token = token.removeprefix(events.prefix)
    is_bearer = scheme.lower().strip() in {"", "bearer", "jwt"}
    return token if is_bearer and token.count(".") == _DOTS and len(token) <= LONGEST_TOKEN else ""


class SignedToken:
    """A JWT by somebody whose key we know."""

    def __init__(self, events: Events, secrets: Secrets) -> None:
        self._events = events
        self._secrets = secrets
        self._algorithms = list(events.token.algorithms)

    def proven(self, headers: Mapping[str, str], body: bytes, *, now: int) -> bool:  # noqa: ARG002
        """Whether the token is signed with a live key, for us, and neither early nor late."""
        token = token_of(headers, self._events)
        read = published_keys if self._events.token.is_public else _secret_keys
        wanted = key_id(token)
        matches = [
            self._says(token, key, now)
            for secret in self._secrets()
            for key in read(secret)
            if not wanted or key.kid in {None, wanted}
        ]
        return any(matches)

    def _says(self, token: str, key: Key, now: int) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # the length is the other side's
                found = jwt.decode(token, key, algorithms=self._algorithms)
            return self._is_meant(found.header, found.claims, now // 1_000)
        except Exception:  # noqa: BLE001 - whatever a hostile token does to its reader, it is wrong
            return False

    def _is_meant(self, header: Mapping[str, Any], claims: Mapping[str, Any], now: int) -> bool:
        wanted = self._events.token
        kind = str(header.get("typ", "")).lower().removeprefix("application/")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        return (
            kind == wanted.type.lower()
            and (wanted.issuer is None or claims.get("iss") == wanted.issuer)
            and (wanted.audience is None or wanted.audience in audiences)
            and _number(claims["exp"]) + _SKEW >= now
            and _number(claims.get("nbf", 0)) - _SKEW <= now
            and _number(claims.get("iat", 0)) - _SKEW <= now
        )


def _number(claim: Any) -> float:
    """Return a moment in seconds; NaN, for which no comparison is true, for anything else."""
    right = isinstance(claim, int | float) and not isinstance(claim, bool)
    return float(claim) if right else float("nan")


def key_id(token: str) -> str:
    """Return which key a token says it is signed with; nothing proves that yet."""
    try:
        header = orjson.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
        return str(header.get("kid", ""))
    except (ValueError, AttributeError):
        return ""


@lru_cache(maxsize=64)
def published_keys(document: bytes) -> tuple[Key, ...]:
    """Return the public keys of a key set (RFC 7517 5), without those that are for other things."""
    try:
        listed = orjson.loads(document)["keys"][:MOST_KEYS]
        found = [it for it in listed if it.get("use", "sig") == "sig" and it.get("kty") != "oct"]
        return tuple(KeySet.import_key_set({"keys": found}))
    except Exception:  # noqa: BLE001 - what the other side publishes may be anything
        return ()


@lru_cache(maxsize=64)
def _secret_keys(secret: bytes) -> tuple[Key, ...]:
    """Return the keys that a secret stands for; none if joserfc takes it for no secret."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            return (OctKey.import_key(secret),)
    except ValueError:
        return ()
