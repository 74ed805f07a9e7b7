"""The grants that no public server offers to all clients, with every client authentication.

The rest of the table in docs/oauth2.md is proven in tests/e2e. Here a server of ours takes each
request apart, which shares no code with what wrote it; a wrong proof must be refused everywhere.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from proxy.oauth2.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJwt,
    ClientSecretPost,
    NoAuthentication,
    PrivateKeyJwt,
    TlsClientAuth,
)
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.grants import Grant, JwtBearer, TokenExchange
from proxy.oauth2.tokens import TokenRefused
from proxy.outbound.client import Outbound
from proxy.security.private_keys import SigningKey
from proxy.security.tls import Certificate
from tests.oauth2.possession import Possession
from tests.oauth2.strict_server import CLIENT, StrictServer, token_endpoint
from tests.support.certificates import Authority

SECRET: Final = "canary-" + "s3cret" * 8
ISSUER: Final = "https://as.example.com"
USER: Final = RSAKey.generate_key(2048)
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
STRANGER: Final = RSAKey.generate_key(2048)
RSA: Final = RSAKey.generate_key(2048)
EC: Final = ECKey.generate_key("P-256")
EDWARDS: Final = OKPKey.generate_key("Ed25519")

GRANTS: Final[dict[str, Grant]] = {
    "jwt_bearer": JwtBearer(
        key=lambda: SigningKey(USER, "RS256", "k1"), issuer=CLIENT, subject="svc", audience=ISSUER
    ),
    "token_exchange": TokenExchange(
        subject_token=lambda: "canary-subject",
        subject_token_type=JWT,
        actor_token=lambda: "canary-actor",
        actor_token_type=JWT,
    ),
}


@dataclass(frozen=True)
class Way:
    """How a client proves itself, what the server knows of it, and a proof that is wrong."""

    good: ClientAuthentication
    wrong: ClientAuthentication
    key: Key | None = None
    certificate: str = ""


def _signed(key: Key, algorithm: str, stranger: Key) -> Way:
    def proof(by: Key) -> PrivateKeyJwt:
        return PrivateKeyJwt(CLIENT, lambda: SigningKey(by, algorithm), audience=ISSUER)

    return Way(proof(key), proof(stranger), key)


def _with_secret(make: Callable[[str], ClientAuthentication], key: Key | None = None) -> Way:
    return Way(make(SECRET), make(SECRET + "x"), key)


WAYS: Final[dict[str, Way]] = {
    "client_secret_basic": _with_secret(lambda it: ClientSecretBasic(CLIENT, lambda: it)),
    "client_secret_post": _with_secret(lambda it: ClientSecretPost(CLIENT, lambda: it)),
    "client_secret_jwt": _with_secret(
        lambda it: ClientSecretJwt(CLIENT, lambda: it, audience=ISSUER),
        OctKey.import_key(SECRET.encode()),
    ),
    "private_key_jwt-RS256": _signed(RSA, "RS256", STRANGER),
    "private_key_jwt-PS256": _signed(RSA, "PS256", STRANGER),
    "private_key_jwt-ES256": _signed(EC, "ES256", ECKey.generate_key("P-256")),
    "private_key_jwt-EdDSA": _signed(EDWARDS, "EdDSA", OKPKey.generate_key("Ed25519")),
    "tls_client_auth": Way(TlsClientAuth(CLIENT), TlsClientAuth(CLIENT), None, "proxy"),
    "none": Way(NoAuthentication(CLIENT), NoAuthentication("another")),
}


def _named_by_certificate(request: web.Request) -> bool:
    assert request.transport is not None
    subject = request.transport.get_extra_info("peercert")["subject"]
    return ("commonName", "proxy") in {part for row in subject for part in row}


@asynccontextmanager
async def serving(
    way: Way, folder: Path, *, certificate: str, bound: Possession | None = None
) -> AsyncIterator[tuple[str, Any]]:
    """Run the server; yield its token endpoint, and how it is connected to.

    `bound` is what it wants of proofs of possession, if it wants any.
    """
    known = [key for key in (USER, way.key) if key is not None]
    strict = StrictServer(
        secrets=[SECRET],
        keys=known,
        audience=ISSUER,
        exchanges=["canary-subject", "canary-actor"],
    )
    if isinstance(way.good, NoAuthentication | TlsClientAuth):
        strict.takes = _named_by_certificate if way.certificate else lambda _: True

    async def answer(request: web.Request) -> web.StreamResponse:
        if bound and (error := bound.error(request)):
            return web.json_response({"error": error}, status=400, headers=bound.headers)
        return await strict(request)

    if bound:
        strict.says["token_type"] = "DPoP"
    app = web.Application()
    app.router.add_post("/token", answer)
    how: dict[str, Any] = {"clock": strict.clock}
    listens: dict[str, Any] = {}
    if way.certificate:
        authority = Authority.found(folder)
        listens["ssl"] = authority.server(folder).server(authority.ca_file)
        ours = authority.client(folder, certificate)
        how["ca_file"] = authority.ca_file
        how["client_certificate"] = Certificate(ours.certificate, ours.key)
    server = TestServer(app, scheme="https" if way.certificate else "http")
    await server.start_server(**listens)
    try:
        yield f"{server.scheme}://127.0.0.1:{server.port}/token", how
    finally:
        await server.close()


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_each_grant_works_with_each_client_authentication(
    outbound: Outbound, tmp_path: Path, grant: str, way: str
) -> None:
    chosen = WAYS[way]
    async with serving(chosen, tmp_path, certificate=chosen.certificate) as (url, how):
        token = await token_endpoint(outbound, url, chosen.good, **how).ask(GRANTS[grant])
    assert token.value == "token-1"


@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_each_gets_tokens_bound_to_a_key(
    outbound: Outbound, tmp_path: Path, grant: str, way: str, *, proven: bool
) -> None:
    """With the server's nonce in the proof (RFC 9449); without a proof there is no token."""
    chosen, bound = WAYS[way], Possession(nonce="wanted")
    dpop = Dpop(lambda: SigningKey(EC, "ES256"), bound.clock)
    async with serving(chosen, tmp_path, certificate=chosen.certificate, bound=bound) as (url, how):
        endpoint = token_endpoint(outbound, url, chosen.good, dpop=dpop if proven else None, **how)
        if proven:
            assert (await endpoint.ask(GRANTS[grant])).value == "token-1"
            assert len(bound.seen) == 2
        else:
            with pytest.raises(TokenRefused, match="invalid_dpop_proof"):
                await endpoint.ask(GRANTS[grant])


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_a_wrong_proof_is_refused_whatever_the_grant(
    outbound: Outbound, tmp_path: Path, grant: str, way: str
) -> None:
    chosen = WAYS[way]
    async with serving(chosen, tmp_path, certificate="stranger") as (url, how):
        with pytest.raises(TokenRefused, match="invalid_client"):
            await token_endpoint(outbound, url, chosen.wrong, **how).ask(GRANTS[grant])


@pytest.mark.parametrize(
    "grant",
    [
        JwtBearer(
            key=lambda: SigningKey(RSA, "RS256"), issuer=CLIENT, subject="s", audience=ISSUER
        ),
        TokenExchange(subject_token=lambda: "canary-subject", subject_token_type=JWT),
    ],
)
async def test_a_wrong_grant_is_refused_whatever_the_proof(
    outbound: Outbound, tmp_path: Path, grant: Grant
) -> None:
    """The negative control of the server: it looks at what the grant presents, too."""
    way = WAYS["client_secret_basic"]
    async with serving(way, tmp_path, certificate="") as (url, how):
        with pytest.raises(TokenRefused, match=r"invalid_(grant|request)"):
            await token_endpoint(outbound, url, way.good, **how).ask(grant)
