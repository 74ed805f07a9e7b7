"""An OAuth2 authorization server with one client (RFC 6749, RFC 7636).

Grants: client_credentials; authorization_code with PKCE, where the user agrees at once; and
refresh_token with tokens for one use (RFC 9700 2.2.2): a second use revokes those of the login.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from aiohttp import web
from yarl import URL

from proxy.domain.clock import Clock
from proxy.simulators.journal import Journal
from proxy.simulators.server import answer

FORM = "application/x-www-form-urlencoded"
ISSUED_PREFIX: Final = "simulated-"
"""The prefix of every code and token, by which tests recognise one that has leaked."""
_OFFLINE: Final = "offline_access"


@dataclass(slots=True)
class _Login:
    """A login that the user agreed to; of its refresh tokens only `current` is valid."""

    challenge: str
    redirect_uri: str
    scope: str
    current: str = field(default="", repr=False)


class AuthorizationServer:
    """Issues opaque access tokens and checks them; `client` is id and secret of its only client.

    `expires_in` is in seconds; None leaves it out of the answer, and such tokens are valid until
    they are revoked. `refuse_client` refuses the client, as if its secret had been rotated.
    `refuse_login` is the error that a login ends with, `issuer` the server's name in its answers
    (RFC 9207); a login gives a refresh token if its scope contains offline_access.
    """

    def __init__(
        self,
        *,
        client: tuple[str, str],
        journal: Journal,
        clock: Clock,
        expires_in: int | None = 3600,
        scopes: Collection[str] = (),
    ) -> None:
        self.expires_in = expires_in
        self.refuse_client = False
        self.refuse_login = ""
        self.issuer = ""
        self.requests = 0
        self._client = client
        self._journal = journal
        self._clock = clock
        self._scopes = frozenset(scopes)
        self._good_until: dict[str, float] = {}
        self._codes: dict[str, _Login] = {}
        self._refresh: dict[str, _Login] = {}

    def revoke_all(self) -> None:
        """Revoke every token issued so far."""
        self._good_until.clear()

    def revoke(self, authorization: str | None) -> None:
        """Revoke the token in an Authorization header."""
        self._good_until.pop(bearer(authorization), None)

    def admits(self, authorization: str | None) -> bool:
        """Return True if an Authorization header carries a valid token."""
        return self._good_until.get(bearer(authorization), 0) > self._clock.now()

    async def authorize(self, request: web.Request) -> web.Response:
        """Answer a login as if the user had agreed (RFC 6749 4.1.1, RFC 7636 4.3)."""
        query = request.query
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") != self._client[0] or not redirect_uri:
            return answer(400, {"error": "invalid_request"})  # never redirect a stranger
        parameters = {"state": query.get("state", "")}
        if self.issuer:
            parameters["iss"] = self.issuer
        if error := self.refuse_login or _login_error(query):
            parameters["error"] = error
        else:
            code = f"{ISSUED_PREFIX}code-{secrets.token_urlsafe(24)}"
            scope = query.get("scope", "")
            self._codes[code] = _Login(query["code_challenge"], redirect_uri, scope)
            parameters["code"] = code
        self._journal.record("login", outcome=parameters.get("error", "agreed"))
        raise web.HTTPFound(URL(redirect_uri).update_query(parameters))

    async def token(self, request: web.Request) -> web.Response:
        """Answer a token request (RFC 6749 sections 4.1.3, 4.4.2, 5.1, 5.2 and 6)."""
        self.requests += 1
        form = await request.post() if request.content_type == FORM else {}
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        error = self._client_error(request.headers.get("Authorization"), fields)
        granted = error or self._grant(fields)
        refused = granted if isinstance(granted, str) else None
        self._journal.record("token", outcome=refused or "issued")
        if refused == "invalid_client":
            return answer(401, {"error": refused}, {"WWW-Authenticate": 'Basic realm="desk"'})
        if isinstance(granted, str):
            return answer(400, {"error": granted})
        return answer(200, granted, {"Cache-Control": "no-store"})

    def _client_error(self, authorization: str | None, fields: Mapping[str, str]) -> str | None:
        basic, post = basic_credential(authorization), "client_secret" in fields
        if "grant_type" not in fields or (basic is not None and post):
            return "invalid_request"
        presented = basic or (fields.get("client_id", ""), fields.get("client_secret", ""))
        good = hmac.compare_digest("\n".join(presented).encode(), "\n".join(self._client).encode())
        if self.refuse_client or not good:
            return "invalid_client"
        return None

    def _grant(self, fields: Mapping[str, str]) -> dict[str, str | int] | str:
        """Return the answer to an authenticated request, or its error code."""
        match fields["grant_type"]:
            case "client_credentials":
                scope = fields.get("scope", "")
                allowed = self._scopes.issuperset(scope.split())
                return self._issue(scope) if allowed else "invalid_scope"
            case "authorization_code":
                return self._redeem(fields)
            case "refresh_token":
                return self._refresh_tokens(fields.get("refresh_token", ""))
            case _:
                return "unsupported_grant_type"

    def _redeem(self, fields: Mapping[str, str]) -> dict[str, str | int] | str:
        """Redeem a code once, if the verifier fits (RFC 6749 4.1.3, RFC 7636 4.6)."""
        login = self._codes.pop(fields.get("code", ""), None)
        if login is None or login.redirect_uri != fields.get("redirect_uri"):
            return "invalid_grant"
        if challenge(fields.get("code_verifier", "")) != login.challenge:
            return "invalid_grant"
        return self._issue(login.scope) | self._rotate(login)

    def _refresh_tokens(self, token: str) -> dict[str, str | int] | str:
        login = self._refresh.get(token)
        if login is None:
            return "invalid_grant"
        if token != login.current:
            login.current = ""  # used before, so one of the two users has stolen it
            return "invalid_grant"
        return self._issue(login.scope) | self._rotate(login)

    def _rotate(self, login: _Login) -> dict[str, str | int]:
        if _OFFLINE not in login.scope.split():
            return {}
        login.current = f"{ISSUED_PREFIX}refresh-{secrets.token_urlsafe(24)}"
        self._refresh[login.current] = login
        return {"refresh_token": login.current}

    def _issue(self, scope: str) -> dict[str, str | int]:
        token = f"{ISSUED_PREFIX}access-{secrets.token_urlsafe(24)}"
        issued: dict[str, str | int] = {"access_token": token, "token_type": "Bearer"}
        self._good_until[token] = float("inf")
        if self.expires_in is not None:
            self._good_until[token] = self._clock.now() + self.expires_in * 1000
            issued["expires_in"] = self.expires_in
        if scope:
            issued["scope"] = scope
        return issued


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _login_error(query: Mapping[str, str]) -> str:
    if query.get("response_type") != "code":
        return "unsupported_response_type"
    if not query.get("code_challenge") or query.get("code_challenge_method") != "S256":
        return "invalid_request"
    return ""


def bearer(authorization: str | None) -> str:
    """Return the bearer token of an Authorization header, or an empty string (RFC 6750 2.1)."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def basic_credential(authorization: str | None) -> tuple[str, str] | None:
    """Return id and secret of HTTP Basic, each form-decoded as RFC 6749 2.3.1 demands."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(name), unquote_plus(secret)
