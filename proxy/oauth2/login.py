"""The login of a person: authorization code with PKCE (RFC 6749 4.1, RFC 7636), no I/O.

The code comes back through a browser, so three things bind it: `state` to this login, `iss` to this
authorization server (RFC 9207), and the verifier makes it useless to anybody who intercepts it
(RFC 7636 1).
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from proxy.errors import ConfigurationError, UnauthorizedError
from proxy.outbound.responses import quote

_ENTROPY: Final = 32  # bytes, as RFC 7636 7.1 and RFC 9700 require
_CODE: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_PARAMETER: Final = re.compile(r"(?:^|[?&])(?:code|state|error)=")
_OURS: Final = frozenset(
    {
        "response_type",
        "client_id",
        "redirect_uri",
        "state",
        "scope",
        "code_challenge",
        "code_challenge_method",
    }
)
_ADVICE: Final = {
    "access_denied": "log in with an account that may grant this access, and agree to it",
    "unauthorized_client": "allow this client the authorization code grant",
    "unsupported_response_type": "enable the authorization code grant at the authorization server",
    "invalid_scope": "check `scope`, and what this client may ask for",
    "invalid_target": "check `resource` and `audience`",
    "invalid_request": "check the redirect URI that is registered for this client",
    "server_error": "try again later",
    "temporarily_unavailable": "try again later",
}


@dataclass(frozen=True, slots=True)
class Authorization:
    """One login that has begun: the URL to open, and the values that its answer must match."""

    url: str = field(repr=False)
    """The URL to open in a browser."""
    state: str = field(repr=False)
    """The random `state`, which the answer must repeat."""
    verifier: str = field(repr=False)
    """The PKCE code verifier, sent with the code."""
    redirect_uri: str
    """The URI to which the browser is redirected afterwards."""
    issuer: str = ""
    """The issuer of the authorization server, empty if it is not known."""
    iss_required: bool = False
    """True if the server promises to name itself in every answer (RFC 9207 3)."""


def begin(
    endpoint: str,
    *,
    client_id: str,
    redirect_uri: str,
    scope: str = "",
    resource: Sequence[str] = (),
    audience: str = "",
    extra: Mapping[str, str] | None = None,
    issuer: str = "",
    iss_required: bool = False,
) -> Authorization:
    """Return a login at the authorization endpoint, with a fresh state and a fresh verifier.

    Raises:
        ConfigurationError: an extra parameter would replace one that the login itself sets.
    """
    if taken := _OURS.intersection(extra or {}):
        raise ConfigurationError(
            f"the login sets {', '.join(sorted(taken))} itself: take that out of the extra"
            " parameters"
        )
    state, verifier = secrets.token_urlsafe(_ENTROPY), secrets.token_urlsafe(_ENTROPY)
    more = {"resource": list(resource), "audience": audience or None, **(extra or {})}
    url = prepare_grant_uri(
        endpoint,
        client_id,
        "code",
        redirect_uri,
        scope,
        state,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
        **more,
    )
    return Authorization(url, state, verifier, redirect_uri, issuer, iss_required)


def code_of(answer: str, login: Authorization) -> str:
    """Return the authorization code in an answer: a redirect's URL, its query, or a pasted code.

    A bare code is bound to this login only by its verifier; it is not accepted if the server
    promises to name itself in its answers.

    Raises:
        UnauthorizedError: the answer belongs to another login; the right one may still come.
        ConfigurationError: this login has failed.
    """
    answer = answer.strip()
    if "://" not in answer and not _PARAMETER.search(answer):
        return _bare(answer, login)
    query = answer.partition("?")[2] if "?" in answer else answer
    query = query.partition("#")[0]
    fields = _once(parse_qsl(query, keep_blank_values=True))
    if not hmac.compare_digest(fields.get("state", "").encode(), login.state.encode()):
        raise UnauthorizedError(
            "this answer does not belong to the login that is under way (its `state` differs):"
            " open the URL that was printed last"
        )
    _check_issuer(fields.get("iss"), login)
    if "error" in fields:
        raise _refusal(fields)
    return _code(fields.get("code", ""))


def _bare(code: str, login: Authorization) -> str:
    if login.iss_required:
        raise ConfigurationError(
            f"{login.issuer} names itself in its answers (RFC 9207), which a code alone does not"
            " show: paste the whole URL to which the browser was sent"
        )
    return _code(code)


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters; none may occur twice (RFC 6749 3.1)."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise UnauthorizedError(
                "this answer has a parameter twice, which no authorization server sends: open the"
                " URL that was printed last"
            )
        fields[name] = value
    return fields


def _check_issuer(named: str | None, login: Authorization) -> None:
    """Refuse the answer of another server, errors included (RFC 9207 2.4)."""
    if named is None and not login.iss_required:
        return
    if login.issuer and named != login.issuer:
        who = f"{quote(named)} and not" if named else "no server by name, but not"
        raise ConfigurationError(
            f"the answer comes from {who} {login.issuer}: nothing was sent to anybody; check"
            " `issuer`, and whether somebody redirects this login"
        )


def _refusal(fields: Mapping[str, str]) -> ConfigurationError:
    code, description = quote(fields["error"]), quote(fields.get("error_description", ""))
    advice = _ADVICE.get(code, "see the log of the authorization server")
    details = f"{code}: {description}" if description else code
    return ConfigurationError(f"the authorization server refused the login ({details}): {advice}")


def _code(text: str) -> str:
    if not _CODE.fullmatch(text):
        raise ConfigurationError(
            "the answer holds no authorization code: paste the whole URL to which the browser was"
            " sent after the login, or the value of `code` in it"
        )
    return text
