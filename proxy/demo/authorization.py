"""An OAuth2 authorization server with one client: client_credentials, as RFC 6749 has it."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Collection, Mapping
from urllib.parse import unquote_plus

from aiohttp import web

from proxy.demo.journal import Journal
from proxy.demo.server import answer
from proxy.domain.clock import Clock

FORM = "application/x-www-form-urlencoded"


class AuthorizationServer:
    """Issues opaque access tokens and says whether one is good.

    `expires_in` is in seconds; None leaves it out of the answer, and such tokens live until they
    are revoked. `refuse_client` makes a good client a bad one, as when its secret was rotated.
    """

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        journal: Journal,
        clock: Clock,
        expires_in: int | None = 3600,
        scopes: Collection[str] = (),
        methods: Collection[str] = ("client_secret_basic", "client_secret_post"),
    ) -> None:
        self.expires_in = expires_in
        self.refuse_client = False
        self.requests = 0
        self._client = (client_id, client_secret)
        self._journal = journal
        self._clock = clock
        self._scopes = frozenset(scopes)
        self._methods = frozenset(methods)
        self._good_until: dict[str, float] = {}

    def revoke_all(self) -> None:
        """Make every token issued so far a bad one."""
        self._good_until.clear()

    def revoke(self, authorization: str | None) -> None:
        """Make the token in an Authorization header a bad one."""
        self._good_until.pop(bearer(authorization), None)

    def admits(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header carries a good token."""
        return self._good_until.get(bearer(authorization), 0) > self._clock.now()

    async def token(self, request: web.Request) -> web.Response:
        """Answer a token request (RFC 6749 sections 4.4.2, 5.1 and 5.2)."""
        self.requests += 1
        form = await request.post() if request.content_type == FORM else {}
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        error = self._refusal(request.headers.get("Authorization"), fields)
        self._journal.record("token", outcome=error or "issued")
        if error == "invalid_client":
            return answer(401, {"error": error}, {"WWW-Authenticate": 'Basic realm="desk"'})
        if error is not None:
            return answer(400, {"error": error})
        return answer(200, self._issue(fields.get("scope")), {"Cache-Control": "no-store"})

    def _refusal(self, authorization: str | None, fields: Mapping[str, str]) -> str | None:
        basic, post = basic_credential(authorization), "client_secret" in fields
        if "grant_type" not in fields or (basic is not None and post):
            return "invalid_request"
        method = "client_secret_basic" if basic is not None else "client_secret_post"
        given = basic or (fields.get("client_id", ""), fields.get("client_secret", ""))
        good = hmac.compare_digest("\n".join(given).encode(), "\n".join(self._client).encode())
        if self.refuse_client or method not in self._methods or not good:
            return "invalid_client"
        if fields["grant_type"] != "client_credentials":
            return "unsupported_grant_type"
        if not self._scopes.issuperset(fields.get("scope", "").split()):
            return "invalid_scope"
        return None

    def _issue(self, scope: str | None) -> dict[str, str | int]:
        token = secrets.token_urlsafe(24)
        issued: dict[str, str | int] = {"access_token": token, "token_type": "Bearer"}
        self._good_until[token] = float("inf")
        if self.expires_in is not None:
            self._good_until[token] = self._clock.now() + self.expires_in * 1000
            issued["expires_in"] = self.expires_in
        if scope:
            issued["scope"] = scope
        return issued


def bearer(authorization: str | None) -> str:
    """Return the token of an Authorization header, empty if there is none (RFC 6750 2.1)."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def basic_credential(authorization: str | None) -> tuple[str, str] | None:
    """Return id and secret from Basic, each form-decoded as RFC 6749 section 2.3.1 demands."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(name), unquote_plus(secret)
