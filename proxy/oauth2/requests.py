"""Token requests and token answers (RFC 6749), without input or output.

authlib writes the form; reading the answer is ours, because authlib takes an error for a token and
a missing lifetime for eternity.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote_plus

import orjson
from authlib.common.urls import add_params_to_qs
from authlib.oauth2.rfc6749.parameters import prepare_token_request

from proxy.answers import Answer, Call, excerpt, retry_after
from proxy.domain.clock import SystemClock
from proxy.domain.schedule import DAY, MINUTE
from proxy.errors import ConfigurationError, ProxyError, TemporaryError

BasicEncoding = Literal["rfc6749", "raw"]

DEFAULT_LIFETIME: Final = 5 * MINUTE

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_ADVICE: Final = {
    "invalid_client": "check client id, client secret and `authentication`",
    "unauthorized_client": "allow this client the grant client_credentials",
    "unsupported_grant_type": "enable the grant client_credentials at the authorization server",
    "invalid_scope": "check `scope`, and what this client may ask for",
    "invalid_target": "check `resource` and `audience`",
    "invalid_request": "check `authentication` and the extra parameters",
    "access_denied": "check what this client may ask for",
}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; `sent_at` is the monotonic time of asking, `lifetime` counts from there.

    Both in milliseconds. A lifetime of 0 means good for one call, not to be kept.
    """

    value: str = field(repr=False)
    sent_at: int
    lifetime: int


class ClientAuthentication(Protocol):
    """How a client proves itself to a token endpoint: one way per request (RFC 6749 2.3)."""

    def sign(self, call: Call) -> Call:
        """Return the token request with the proof in it."""
        ...


@dataclass(frozen=True, slots=True)
class ClientSecretBasic:
    """HTTP Basic, id and secret form-encoded first (RFC 6749 2.3.1), or raw where servers err."""

    client_id: str
    secret: Callable[[], str] = field(repr=False)
    encoding: BasicEncoding = "rfc6749"

    def sign(self, call: Call) -> Call:
        """Add the Authorization header."""
        encode = quote_plus if self.encoding == "rfc6749" else str
        pair = f"{encode(self.client_id)}:{encode(self.secret())}"
        proof = base64.b64encode(pair.encode()).decode()
        headers = {**call.headers, "Authorization": f"Basic {proof}"}
        return replace(call, headers=headers, secrets=(self.secret(), proof))


@dataclass(frozen=True, slots=True)
class ClientSecretPost:
    """Id and secret in the form (RFC 6749 2.3.1): for servers that know nothing better."""

    client_id: str
    secret: Callable[[], str] = field(repr=False)

    def sign(self, call: Call) -> Call:
        """Add both to the form."""
        proof = [("client_id", self.client_id), ("client_secret", self.secret())]
        body = add_params_to_qs((call.body or b"").decode(), proof).encode()
        return replace(call, body=body, secrets=(self.secret(), quote_plus(self.secret())))


def token_request(
    url: str,
    *,
    scope: str = "",
    resource: Sequence[str] = (),
    audience: str = "",
    extra: Mapping[str, str] | None = None,
) -> Call:
    """Return the client_credentials request (RFC 6749 4.4.2, RFC 8707), yet unsigned."""
    body = prepare_token_request("client_credentials", scope=scope, audience=audience)
    more = [*(("resource", each) for each in resource), *(extra or {}).items()]
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return Call("POST", url, headers, add_params_to_qs(body, more).encode())


def parse_token(
    answer: Answer, *, sent_at: int, scope: str = "", default_lifetime: int = DEFAULT_LIFETIME
) -> Token:
    """Return the token in an answer to a request sent at the monotonic time `sent_at`.

    Raises:
        ConfigurationError: the endpoint refuses, or answers what is no Bearer token.
        TemporaryError: it cannot answer now; the call that wanted the token was not sent.
    """
    try:
        tree = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        tree = None
    tree = tree if isinstance(tree, dict) else {}
    if answer.status != 200:  # noqa: PLR2004 - the only success (RFC 6749 5.1)
        raise _refusal(answer, tree)
    value = tree.get("access_token")
    if not (isinstance(value, str) and _TOKEN.fullmatch(value)):
        # nothing of a 200 is quoted: what we cannot read may well be a token
        raise ConfigurationError(
            f"{answer.place} answered 200 without an access_token: check that it is the URL of the"
            " token endpoint"
        )
    kind = tree.get("token_type", "Bearer")
    if not (isinstance(kind, str) and kind.lower() == "bearer"):
        raise ConfigurationError(
            f"{answer.place} gave a token that is not of type Bearer: have the authorization"
            " server issue Bearer tokens to this client"
        )
    _check_scope(answer, tree.get("scope"), scope)
    return Token(value, sent_at, lifetime(tree.get("expires_in"), default_lifetime))


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


def _check_scope(answer: Answer, granted: Any, wanted: str) -> None:
    missing = set(wanted.split()) - set(granted.split()) if isinstance(granted, str) else set()
    if missing:
        raise ConfigurationError(
            f"{answer.place} left {' '.join(sorted(missing))} out of the granted scope: allow this"
            " client to ask for it, or take it out of `scope`"
        )


def _refusal(answer: Answer, tree: Mapping[str, Any]) -> ProxyError:
    code = tree.get("error")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    said = excerpt(answer) if answer.status >= 400 else ""  # noqa: PLR2004 - see above
    details = ": ".join(dict.fromkeys(filter(None, (code, said))))
    what = f"no token: {answer.place} answered {answer.status}" + (
        f" ({details})" if details else ""
    )
    if answer.status in {408, 425, 429} or answer.status >= 500 or code in _PASSING:  # noqa: PLR2004
        pause = retry_after(answer.headers, SystemClock().now())
        return TemporaryError(f"{what}: it will be asked again", retry_after=pause, sent=False)
    advice = _ADVICE.get(code, "check the token endpoint's URL and the client's credentials")
    return ConfigurationError(f"{what}: {advice}")
