"""Tokens, and the responses of a token endpoint (RFC 6749 5): pure, no I/O.

Responses are not read with authlib, because it takes an error for a token and a missing lifetime
for eternity.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

import orjson

from proxy.domain.clock import SystemClock
from proxy.domain.schedule import DAY, MINUTE
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.outbound.responses import Response, excerpt, retry_after

DEFAULT_LIFETIME: Final = 5 * MINUTE

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_ADVICE: Final = {
    "invalid_client": "check `client_id`, `client_authentication` and secret, key or certificate",
    "invalid_grant": "log in again, or check the assertion's issuer, subject and audience",
    "unauthorized_client": "allow this client the grant {grant}",
    "unsupported_grant_type": "enable the grant {grant} at the authorization server",
    "invalid_scope": "check `scope`, and what this client may ask for",
    "invalid_target": "check `resource` and `audience`",
    "invalid_request": "check `client_authentication` and `extra`",
    "access_denied": "check what this client may ask for",
    "invalid_dpop_proof": "check `dpop_key`, and which signatures the authorization server takes",
    "use_dpop_nonce": "it requires a nonce (RFC 9449 8) but sends none: have that repaired",
}
_OTHERWISE: Final = {
    "Bearer": "set `dpop_key` if it binds them to a key (RFC 9449)",
    "DPoP": "take `dpop_key` out",
}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; times in milliseconds."""

    value: str = field(repr=False)
    """The token."""
    sent_at: int
    """The monotonic time of its request."""
    lifetime: int
    """How long it is valid after `sent_at`; 0 means that it serves one call and is not cached."""
    refresh_token: str = field(default="", repr=False)
    """The refresh token that came with it, empty if none did."""


class TokenRefused(ConfigurationError):  # noqa: N818 - the name of the fact
    """The token endpoint refuses us (RFC 6749 5.2).

    Attributes:
        code: `invalid_client`, `invalid_grant` ...; empty if the endpoint names none. A 401 without
            a code counts as `invalid_client`, the only code that the RFC allows with a 401.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def parse_token(
    answer: Response,
    *,
    sent_at: int,
    scope: str = "",
    default_lifetime: int = DEFAULT_LIFETIME,
    grant: str = "client_credentials",
    scheme: str = "Bearer",
    bound: bool = False,
) -> Token:
    """Return the token in the response to a request sent at the monotonic time `sent_at`.

    The token must be of the type `scheme`, which the API expects, or Bearer; one that is `bound` to
    our key must be of type DPoP (RFC 9449 5).

    Raises:
        TokenRefused: the endpoint refuses.
        ConfigurationError: the response has no such token, or a smaller scope.
        TemporaryError: it cannot answer now; `maybe_sent` if it may have used up the grant.
    """
    tree = _object(answer.body)
    if answer.status != 200:  # noqa: PLR2004 - the only success (RFC 6749 5.1)
        raise _refusal(answer, tree, grant)
    value = tree.get("access_token")
    if not _usable(value):
        # nothing of a 200 is quoted: it may contain a token
        raise ConfigurationError(
            f"{answer.label} answered 200 without an access_token: check that it is the URL of the"
            " token endpoint"
        )
    _check_type(answer, tree.get("token_type", "Bearer"), scheme=scheme, bound=bound)
    _check_scope(answer, tree.get("scope"), scope)
    refresh = tree.get("refresh_token")
    return Token(
        value,
        sent_at,
        lifetime(tree.get("expires_in"), default_lifetime),
        refresh if _usable(refresh) else "",
    )


def lifetime(seconds: Any, default: int) -> int:
    """Return a lifetime in seconds as milliseconds: at most a day, 0 if it cannot be read.

    Servers also send "3600", "3600.0" and 3599.5; a missing one means the default.
    """
    if seconds is None:
        return default
    try:
        return 0 if isinstance(seconds, bool) else int(min(max(float(seconds) * 1_000, 0), DAY))
    except (ValueError, TypeError):
        return 0


def _object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a body, an empty one if it has none."""
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _usable(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _check_type(answer: Response, kind: Any, *, scheme: str, bound: bool) -> None:
    word = "DPoP" if bound else "Bearer"
    accepted = {word.lower()} if bound else {word.lower(), scheme.lower()}
    if not (isinstance(kind, str) and kind.lower() in accepted):
        raise ConfigurationError(
            f"{answer.label} returned a token that is not of type {word}: have the authorization"
            f" server issue {word} tokens to this client, or {_OTHERWISE[word]}"
        )


def _check_scope(answer: Response, granted: Any, scope: str) -> None:
    # offline_access requests a refresh token and is not a permission: servers leave it out
    requested = set(scope.split()) - {"offline_access"}
    missing = requested - set(granted.split()) if isinstance(granted, str) else set()
    if missing:
        raise ConfigurationError(
            f"{answer.label} did not grant the scope {' '.join(sorted(missing))}: allow this client"
            " to request it, or take it out of `scope`"
        )


def _refusal(answer: Response, tree: Mapping[str, Any], grant: str) -> ProxyError:
    code = tree.get("error")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    status = answer.status
    message = excerpt(answer) if status >= 400 else ""  # noqa: PLR2004 - see above
    details = ": ".join(dict.fromkeys(filter(None, (code, message))))
    what = f"no token: {answer.label} answered {status}" + (f" ({details})" if details else "")
    broken = status == 408 or status >= 500  # noqa: PLR2004 - it may have issued a token
    if broken or status in {425, 429} or code in _PASSING:
        pause = retry_after(status, answer.headers, SystemClock().now())
        return TemporaryError(
            f"{what}: it will be tried again", retry_after=pause, maybe_sent=broken
        )
    if 300 <= status < 400:  # noqa: PLR2004 - redirections
        return TokenRefused(f"{what}: redirects are never followed, correct the endpoint's URL")
    if status == 401:  # noqa: PLR2004 - RFC 6749 5.2
        code = code or "invalid_client"
    advice = _ADVICE.get(code, "check the token endpoint's URL and the client's credentials")
    return TokenRefused(f"{what}: {advice.format(grant=grant)}", code=code)
