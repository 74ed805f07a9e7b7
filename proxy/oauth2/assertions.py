"""JWT assertions: signed JWTs that prove our identity (RFC 7523).

joserfc signs them. authlib's own signer writes `jti` into the caller's claims, so that every later
assertion repeats it; here claims are copied and each assertion has a `jti` of its own.
"""

import secrets
import warnings
from collections.abc import Mapping
from typing import Any, Final

from proxy.domain.schedule import MINUTE, SECOND
from proxy.errors import ConfigurationError
from proxy.security.private_keys import SigningKey

LONGEST_LIFETIME: Final = MINUTE
SKEW: Final = 10 * SECOND
"""How far `iat` and `nbf` lie in the past: more than synchronised clocks differ, and few enough to
leave 50 of the 60 seconds. Larger differences are measured from the server's `Date`."""


def assertion(
    key: SigningKey,
    *,
    issuer: str,
    subject: str,
    audience: str,
    now: int,
    lifetime: int = LONGEST_LIFETIME,
    claims: Mapping[str, Any] | None = None,
    kind: str = "JWT",
) -> str:
    """Return a signed assertion (RFC 7523 3) with a fresh random `jti`.

    `now` is the server's Unix time and `lifetime` how long the assertion is valid, never more than
    60 s; both in milliseconds. `claims` are additional and are not changed; `kind` is the header
    `typ`.

    Raises:
        ConfigurationError: the key cannot be used.
    """
    issued = (now - SKEW) // 1_000
    content = {
        **(claims or {}),
        "iss": issuer,
        "sub": subject,
        "aud": audience,
        "iat": issued,
        "nbf": issued,
        "exp": issued + min(lifetime, LONGEST_LIFETIME) // 1_000,
        "jti": secrets.token_urlsafe(24),
    }
    header = {"typ": kind} | ({"kid": key.kid} if key.kid else {})
    return signed(key, header, content)


def signed(key: SigningKey, header: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Return a JWT, signed with the key.

    Raises:
        ConfigurationError: the key cannot be used.
    """
    from joserfc import jwt  # noqa: PLC0415 - slow to import, and only some clients sign
    from joserfc.errors import JoseError, SecurityWarning  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            # joserfc warns about EdDSA, an old name, but the one that servers know
            warnings.simplefilter("ignore", SecurityWarning)
            return jwt.encode(
                {**header, "alg": key.algorithm}, dict(content), key.key, algorithms=[key.algorithm]
            )
    except (JoseError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"signing with {key.algorithm} failed ({type(error).__name__}): check the key and the"
            " additional claims"
        ) from None
