"""The ways in which the simulated witboost authenticates callbacks."""

import base64
import hashlib
import hmac
import re
import secrets
from typing import Any, Protocol

import orjson
from typing_extensions import override

from proxy.domain.clock import Clock
from proxy.simulators.authorization import bearer

BACKSTAGE_SUBJECT = "backstage-server"
DEFAULT_JWT_SECONDS = 300
LONGEST_JWT_SECONDS = 86_400
EXCHANGE_FIELDS = frozenset({"access_token", "duration_seconds", "scope"})


class Check(Protocol):
    """Checks an Authorization header at a time in milliseconds since the epoch."""

    def admits(self, authorization: str | None, *, now: int) -> bool:
        """Return True if the caller may update hooks."""
        ...


class NoCheck(Check):
    """No authentication."""

    @override
    def admits(self, authorization: str | None, *, now: int) -> bool:
        return True


class StaticBearer(Check):
    """A fixed bearer token."""

    def __init__(self, token: str) -> None:
        self._token = token

    @override
    def admits(self, authorization: str | None, *, now: int) -> bool:
        return hmac.compare_digest(bearer(authorization).encode(), self._token.encode())


class SharedSecret(Check):
    """A JWT that the caller signed with the shared secret, by Backstage's rules for legacy tokens.

    HS256 with the base64-decoded secret; `sub` is backstage-server, `exp` in the future, no
    `aud` (backstage: ServerTokenManager.ts, external/legacy.ts).
    """

    def __init__(self, secret: str) -> None:
        self._key = lenient_base64(secret)

    @override
    def admits(self, authorization: str | None, *, now: int) -> bool:
        claims = verified_claims(bearer(authorization), self._key)
        expiry = claims.get("exp")
        return (
            claims.get("sub") == BACKSTAGE_SUBJECT
            and isinstance(expiry, int | float)
            and expiry * 1000 > now
            and "aud" not in claims
        )


class ServiceAccount(Check):
    """A short-lived JWT that witboost issued for a service account's access token.

    `exchanges` counts the exchanges; `refuse` revokes the access token.
    """

    def __init__(self, access_token: str, clock: Clock) -> None:
        self.exchanges = 0
        self.refuse = False
        self._access_token = access_token
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._valid: set[str] = set()

    def revoke_all(self) -> None:
        """Revoke every JWT issued so far."""
        self._valid.clear()

    @override
    def admits(self, authorization: str | None, *, now: int) -> bool:
        jwt = bearer(authorization)
        return jwt in self._valid and bool(verified_claims(jwt, self._key)["exp"] * 1000 > now)

    def exchange(self, body: dict[str, Any] | None) -> tuple[int, dict[str, str]]:
        """Answer `POST /api/auth/access-tokens/jwt`: status and body."""
        self.exchanges += 1
        duration = (body or {}).get("duration_seconds", DEFAULT_JWT_SECONDS)
        if body is None or body.keys() - EXCHANGE_FIELDS or "access_token" not in body:
            return 400, {
                "error": "access_token is required; duration_seconds and scope are optional"
            }
        if type(duration) is not int or not 1 <= duration <= LONGEST_JWT_SECONDS:
            return 400, {"error": f"duration_seconds is not in 1..{LONGEST_JWT_SECONDS}"}
        if not isinstance(body.get("scope", ""), str):
            return 400, {"error": "scope is not a string"}
        if self.refuse or body["access_token"] != self._access_token:
            return 401, {"error": "the access token is not valid"}
        now = self._clock.now() // 1000
        claims = {"sub": "service-account", "exp": now + duration, "jti": secrets.token_hex(8)}
        jwt = signed_jwt(claims, self._key)
        self._valid.add(jwt)
        return 200, {"jwt": jwt}


def lenient_base64(text: str) -> bytes:
    """Decode as Node's Buffer does: both alphabets, up to `=`, other characters skipped."""
    plain = text.translate(str.maketrans("-_", "+/")).partition("=")[0]
    plain = re.sub(r"[^A-Za-z0-9+/]", "", plain)
    if len(plain) % 4 == 1:
        plain = plain[:-1]
    return base64.b64decode(plain + "=" * (-len(plain) % 4))


def signed_jwt(claims: dict[str, Any], key: bytes, **header: str) -> str:
    """Return the claims as a compact HS256 JWT; `header` holds further header fields."""
    parts = ({"alg": "HS256", **header}, claims)
    signed = ".".join(_encoded(orjson.dumps(part)) for part in parts)
    return f"{signed}.{_encoded(_mac(signed, key))}"


def verified_claims(jwt: str, key: bytes) -> dict[str, Any]:
    """Return the claims of an HS256 JWT signed with this key; an empty dict for any other text."""
    signed, _, signature = jwt.rpartition(".")
    header, _, payload = signed.partition(".")
    if not hmac.compare_digest(_encoded(_mac(signed, key)).encode(), signature.encode()):
        return {}
    try:
        algorithm = orjson.loads(lenient_base64(header))["alg"]
        claims: dict[str, Any] = orjson.loads(lenient_base64(payload))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return claims if algorithm == "HS256" else {}


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _mac(signed: str, key: bytes) -> bytes:
    return hmac.digest(key, signed.encode(), hashlib.sha256)
