"""A token endpoint that takes nothing on trust, with a clock of its own.

It reads requests with urllib and joserfc alone, so that it shares no code with what it judges.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from yarl import URL

from proxy.domain.clock import Clock
from proxy.oauth2.client_authentication import ClientAuthentication
from proxy.oauth2.discovery import Discovery, StaticMetadata
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.endpoint import TokenEndpoint, TokenParameters
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from tests.support.manual_clock import ManualClock

CLIENT: Final = "cl:ié nt&="
ODD_SECRETS: Final = ("a+b%2Fc d", "ü:\"'\\", "x&=y%+ \"'\\" * 100)
"""What breaks where a secret is not encoded exactly once; the last has 1,000 characters."""

_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"


def fields_of(body: bytes) -> dict[str, list[str]]:
    """Read a form; a parameter may come once (RFC 6749 3.2), `resource` often (RFC 8707 2)."""
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    assert all(len(values) == 1 for name, values in found.items() if name != "resource"), found
    return found


@dataclass
class StrictServer:
    """Issues numbered tokens to who proves itself in exactly one way, at its own time.

    `secrets` and `keys` are those that are live; `takes` says whether a client that sends no proof
    is who it says; `exchanges` are the tokens that it takes in exchange; `says` is added to, or
    replaces, what a good answer says; `date_off_by` (milliseconds) makes `Date` another time than
    the server's; `refresh` is the one refresh token that is good, for one use.
    """

    clock: ManualClock = field(default_factory=ManualClock)
    secrets: Sequence[str] = ()
    keys: Sequence[Key] = ()
    takes: Callable[[web.Request], bool] | None = None
    exchanges: Sequence[str] = ()
    audience: str = ""
    unknown: tuple[int, dict[str, Any]] = (401, {"error": "invalid_client"})
    says: dict[str, Any] = field(default_factory=dict)
    date_off_by: int = 0
    refresh: str = ""
    seen: list[dict[str, list[str]]] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    _spent: set[str] = field(default_factory=set)

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer a token request."""
        assert (request.method, request.query_string) == ("POST", "")
        assert request.content_type == "application/x-www-form-urlencoded"
        form = fields_of(await request.read())
        self.seen.append(form)
        given = {name: values[0] for name, values in form.items()}
        if not self._proven(request, given):
            return self._answer(*self.unknown)
        if given["grant_type"] == _JWT_GRANT and not self._verified(given["assertion"]):
            return self._answer(400, {"error": "invalid_grant"})
        if given["grant_type"] == _EXCHANGE and not self._exchanged(given):
            return self._answer(400, {"error": "invalid_request"})
        token = {"access_token": f"token-{len(self.seen)}", "token_type": "Bearer"}
        if given["grant_type"] == "refresh_token":
            if given["refresh_token"] != self.refresh:
                return self._answer(400, {"error": "invalid_grant"})
            self.refresh = token["refresh_token"] = f"refresh-{len(self.seen)}"
        return self._answer(200, token | self.says)

    def _answer(self, status: int, tree: dict[str, Any]) -> web.Response:
        date = formatdate((self.clock.now() + self.date_off_by) / 1_000, usegmt=True)
        return web.json_response(tree, status=status, headers={"Date": date})

    def _proven(self, request: web.Request, given: Mapping[str, str]) -> bool:
        ways = []
        if "Authorization" in request.headers:
            kind, _, proof = request.headers["Authorization"].partition(" ")
            client, _, secret = (
                base64.b64decode(proof, validate=True).decode("ascii").partition(":")
            )
            ways.append("client_secret_basic")
            good = kind == "Basic" and unquote_plus(client) == CLIENT
            good = good and unquote_plus(secret) in self.secrets
        if "client_secret" in given:
            ways.append("client_secret_post")
            good = given["client_id"] == CLIENT and given["client_secret"] in self.secrets
        if "client_assertion" in given:
            ways.append("assertion")
            assert given["client_assertion_type"] == _BEARER
            good = given["client_id"] == CLIENT and self._verified(given["client_assertion"])
        if not ways and self.takes is not None:
            ways.append("no secret")
            good = given["client_id"] == CLIENT and self.takes(request)
        assert len(ways) == 1, ways
        self.proofs += ways
        return good

    def _exchanged(self, given: Mapping[str, str]) -> bool:
        """Check subject and actor, each with its type (RFC 8693 2.1)."""
        pairs = [
            (given.get(f"{who}_token"), given.get(f"{who}_token_type"))
            for who in ("subject", "actor")
        ]
        return pairs == [(token, _JWT) for token in self.exchanges]

    def _verified(self, assertion: str) -> bool:
        """Check signature, audience, times without any tolerance, and that it comes once."""
        seconds = self.clock.now() / 1_000
        for key in self.keys:
            try:
                algorithms = ["RS256", "PS256", "ES256", "EdDSA", "HS256"]
                claims = jwt.decode(assertion, key, algorithms=algorithms).claims
            except (JoseError, ValueError):
                continue
            fresh = claims["jti"] not in self._spent
            self._spent.add(claims["jti"])
            good = claims["nbf"] <= seconds and claims["iat"] <= seconds < claims["exp"]
            good = good and claims["exp"] - claims["iat"] <= 60
            return good and fresh and self.audience in {"", claims["aud"]}
        return False


def document(issuer: str, **more: Any) -> dict[str, Any]:
    """Return what an issuer publishes of itself."""
    return {"issuer": issuer, "token_endpoint": f"{issuer.rstrip('/')}/token"} | more


def connecting(outbound: Outbound, **how: Any) -> Callable[[str], Destination]:
    """Return what makes a destination for exactly one origin, as the program does."""

    def connect(url: str) -> Destination:
        settings: dict[str, Any] = {
            "deadline": 10_000,
            "concurrency": 1,
            "credential": NoCredential(),
        } | how
        return outbound.destination("desk: token", origins=[str(URL(url).origin())], **settings)

    return connect


def token_endpoint(
    outbound: Outbound,
    at: str | Discovery | StaticMetadata,
    *authentications: ClientAuthentication,
    clock: Clock | None = None,
    asked: TokenParameters | None = None,
    dpop: Dpop | None = None,
    **how: Any,
) -> TokenEndpoint:
    """Return a client of the token endpoint at this URL, or of where the metadata says."""
    return TokenEndpoint(
        connect=connecting(outbound, **how),
        metadata=StaticMetadata("", at) if isinstance(at, str) else at,
        authentications=authentications,
        clock=clock or ManualClock(),
        parameters=asked,
        dpop=dpop,
    )
