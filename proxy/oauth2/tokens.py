"""Tokens, and what the answers of a token endpoint mean (RFC 6749 5), without input or output.

Reading the answer is ours, because authlib takes an error for a token and a missing lifetime for
eternity.
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
    "use_dpop_nonce": "it wants a nonce in proofs (RFC 9449 8) and gives none: have that repaired",
}
_OTHERWISE: Final = {
    "Bearer": "set `dpop_key` if it binds them to a key (RFC 9449)",
    "DPoP": "take `dpop_key` out",
}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; `sent_at` is the monotonic time of asking, `lifetime` counts from there.

    Both in milliseconds. A lifetime of 0 means good for one call, not to be kept. `refresh_token`
    is empty where none came.
    """

    value: str = field(repr=False)
    sent_at: int
    lifetime: int
    refresh_token: str = field(default="", repr=False)


class TokenRefused(ConfigurationError):  # noqa: N818 - the name of the fact
    """The token endpoint refuses us (RFC 6749 5.2).

    Attributes:
        code: `invalid_client`, `invalid_grant` ...; empty where the endpoint names none. A 401
            without a code counts as `invalid_client`, for which alone the RFC allows a 401.
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
    """Return the token in an answer to a request sent at the monotonic time `sent_at`.

    `scheme` is how the API takes it; a token is of that type, or, whatever the API says, a Bearer.
    One that is to be `bound` to our key is of type DPoP (RFC 9449 5).

    Raises:
        TokenRefused: the endpoint refuses.
        ConfigurationError: it answers what is no such token with our scope.
        TemporaryError: it cannot answer now; `sent` says whether it may have used up the grant.
    """
    tree = _object(answer.body)
    if answer.status != 200:  # noqa: PLR2004 - the only success (RFC 6749 5.1)
        raise _refusal(answer, tree, grant)
    value = tree.get("access_token")
    if not _usable(value):
        # nothing of a 200 is quoted: what we cannot read may well be a token
        raise ConfigurationError(
            f"{answer.place} answered 200 without an access_token: check that it is the URL of the"
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
    """Return a lifetime given in seconds as milliseconds: at most a day, 0 for what makes no sense.

    Servers also send "3600", "3600.0" and 3599.5; none at all means the default.
    """
    if seconds is None:
        return default
    try:
        return 0 if isinstance(seconds, bool) else int(min(max(float(seconds) * 1_000, 0), DAY))
    except (ValueError, TypeError):
        return 0


def _object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a body, an empty one where there is none."""
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _usable(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _check_type(answer: Response, kind: Any, *, scheme: str, bound: bool) -> None:
    word = "DPoP" if bound else "Bearer"
    wanted = {word.lower()} if bound else {word.lower(), scheme.lower()}
    if not (isinstance(kind, str) and kind.lower() in wanted):
        raise ConfigurationError(
            f"{answer.place} gave a token that is not of type {word}: have the authorization server"
            f" issue {word} tokens to this client, or {_OTHERWISE[word]}"
        )


def _check_scope(answer: Response, granted: Any, wanted: str) -> None:
    # offline_access asks for a refresh token and is no permission: servers leave it out
    asked = set(wanted.split()) - {"offline_access"}
    missing = asked - set(granted.split()) if isinstance(granted, str) else set()
    if missing:
        raise ConfigurationError(
            f"{answer.place} left {' '.join(sorted(missing))} out of the granted scope: allow this"
            " client to ask for it, or take it out of `scope`"
        )


def _refusal(answer: Response, tree: Mapping[str, Any], grant: str) -> ProxyError:
    code = tree.get("error")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    status = answer.status
    said = excerpt(answer) if status >= 400 else ""  # noqa: PLR2004 - see above
    details = ": ".join(dict.fromkeys(filter(None, (code, said))))
    what = f"no token: {answer.place} answered {status}" + (f" ({details})" if details else "")
    broken = status == 408 or status >= 500  # noqa: PLR2004 - it may have done what we asked
    if broken or status in {425, 429} or code in _PASSING:
        pause = retry_after(status, answer.headers, SystemClock().now())
        return TemporaryError(
            f"{what}: it will be asked again", retry_after=pause, maybe_sent=broken
        )
    if 300 <= status < 400:  # noqa: PLR2004 - redirections
        return TokenRefused(f"{what}: redirects are never followed, correct the endpoint's URL")
    if status == 401:  # noqa: PLR2004 - RFC 6749 5.2
        code = code or "invalid_client"
    advice = _ADVICE.get(code, "check the token endpoint's URL and the client's credentials")
    return TokenRefused(f"{what}: {advice.format(grant=grant)}", code=code)
