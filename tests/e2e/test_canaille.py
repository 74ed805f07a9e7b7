"""Our client at canaille, a real authorization server: what it issues is what it then knows."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import orjson
import pytest
from joserfc.jwk import ECKey, RSAKey
from yarl import URL

from proxy.domain.clock import SystemClock
from proxy.errors import ConfigurationError
from proxy.oauth2.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    NoAuthentication,
    PrivateKeyJwt,
)
from proxy.oauth2.discovery import Discovery
from proxy.oauth2.endpoint import TokenEndpoint, TokenParameters
from proxy.oauth2.grants import ClientCredentials, JwtBearer
from proxy.oauth2.refresh_grant import RefreshTokenFetcher
from proxy.oauth2.tokens import TokenRefused
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from proxy.security.key_ring import KeyRing
from proxy.security.private_keys import SigningKey
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.e2e.canaille import Canaille, canaille
from tests.e2e.environments import python_with

# one that must be encoded in Basic; not with a blank, which canaille expects as %20 and not as the
# + that forms have (RFC 6749 appendix B)
SECRET: Final = "a+b%2Fcd"
LONG: Final = "".join(chr(33 + number % 94) for number in range(1_000)).replace(":", ".")
USER: Final = "ada"
SERVER: Final = RSAKey.generate_key(2048, {"kid": "server"})
KEYS: Final[dict[str, RSAKey | ECKey]] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "RS256"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ES256"}),
}
INSPECTOR: Final = ("inspector", "asks-what-a-token-is")
JWT_BEARER: Final = JwtBearer.grant_type


def _client(name: str, method: str, *grants: str, **more: Any) -> dict[str, Any]:
    return {
        "client_id": name,
        "client_name": name,
        "token_endpoint_auth_method": method,
        "grant_types": list(grants),
        "scope": ["profile", "email"],
        **more,
    }


CLIENTS: Final = [
    _client(INSPECTOR[0], "client_secret_basic", client_secret=INSPECTOR[1]),
    _client("basic", "client_secret_basic", "client_credentials", client_secret=SECRET),
    _client("long", "client_secret_basic", "client_credentials", client_secret=LONG),
    _client("post", "client_secret_post", "refresh_token", client_secret=SECRET),
    _client("signing", "client_secret_basic", JWT_BEARER, client_secret=SECRET),
    *(
        _client(
            algorithm,
            "private_key_jwt",
            "refresh_token",
            token_endpoint_auth_signing_alg=algorithm,
            jwks=orjson.dumps({"keys": [key.as_dict(private=False)]}).decode(),
        )
        for algorithm, key in KEYS.items()
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Canaille]:
    key = SERVER.as_dict(private=True)
    with canaille(python_with("canaille"), clients=CLIENTS, server_key=key, user=USER) as server:
        yield server


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(loopback=True) as outbound:
        yield outbound


def endpoint(
    server: Canaille, outbound: Outbound, authentication: ClientAuthentication, scope: str = ""
) -> TokenEndpoint:
    """Our client, which finds the server by its own documents."""

    def connect(url: str) -> Destination:
        return outbound.destination(
            "canaille: token",
            origins=[str(URL(url).origin())],
            deadline=20_000,
            concurrency=1,
            credential=NoCredential(),
        )

    clock = SystemClock()
    return TokenEndpoint(
        connect=connect,
        metadata=Discovery(connect, server.issuer, clock, mtls=False),
        authentications=[authentication],
        clock=clock,
        parameters=TokenParameters(scope=scope),
    )


@pytest.mark.parametrize(("client", "secret"), [("basic", SECRET), ("long", LONG)])
async def test_client_credentials(
    client: str, secret: str, server: Canaille, outbound: Outbound
) -> None:
    ask = endpoint(server, outbound, ClientSecretBasic(client, lambda: secret), scope="profile")

    token = await ask.ask(ClientCredentials())

    said = await server.introspect(token.value, *INSPECTOR)
    assert (said["active"], said["client_id"], said["scope"]) == (True, client, "profile")


@pytest.mark.parametrize(
    "authentication",
    [
        ClientSecretBasic("basic", lambda: "another"),
        ClientSecretBasic("nobody", lambda: SECRET),
    ],
    ids=["secret", "client"],
)
async def test_an_impostor_is_refused(
    authentication: ClientAuthentication, server: Canaille, outbound: Outbound
) -> None:
    with pytest.raises(TokenRefused) as caught:
        await endpoint(server, outbound, authentication).ask(ClientCredentials())

    assert caught.value.code == "invalid_client"


async def test_a_scope_that_is_dropped_is_noticed(server: Canaille, outbound: Outbound) -> None:
    ask = endpoint(server, outbound, ClientSecretBasic("basic", lambda: SECRET), "profile phone")

    with pytest.raises(ConfigurationError, match="phone"):
        await ask.ask(ClientCredentials())


def _signed(algorithm: str, key: ECKey | None = None) -> PrivateKeyJwt:
    used = key or KEYS[algorithm]
    return PrivateKeyJwt(
        algorithm, lambda: SigningKey(used, algorithm, algorithm), "token_endpoint"
    )


def _refreshing(name: str, ask: TokenEndpoint, tokens: RedisTokens) -> RefreshTokenFetcher:
    return RefreshTokenFetcher(ask=ask.ask, tokens=tokens, key=name, system="desk", within=60_000)


@pytest.mark.parametrize("client", ["post", *KEYS])
async def test_refresh_token(
    client: str, server: Canaille, outbound: Outbound, store: RequestStore
) -> None:
    """With a secret in the form, and with assertions: each use needs a fresh one."""
    tokens = RedisTokens(store, KeyRing([("one", bytes(32))]))
    await tokens.put(client, f"r-{client}", system="desk", by="olga")
    proof = ClientSecretPost("post", lambda: SECRET) if client == "post" else _signed(client)
    fetch = _refreshing(client, endpoint(server, outbound, proof), tokens)

    said = await server.introspect((await fetch()).value, *INSPECTOR)

    assert (said["active"], said["client_id"], said["sub"]) == (True, client, USER)
    for _ in range(2):  # within one second it makes the same JWT, which it then calls ended
        await fetch()


async def test_a_key_that_the_server_does_not_know_is_refused(
    server: Canaille, outbound: Outbound, store: RequestStore
) -> None:
    tokens = RedisTokens(store, KeyRing([("one", bytes(32))]))
    await tokens.put("ES256", "r-ES256", system="desk", by="olga")
    stranger = _signed("ES256", ECKey.generate_key("P-256"))

    with pytest.raises(TokenRefused) as caught:
        await _refreshing("ES256", endpoint(server, outbound, stranger), tokens)()

    assert caught.value.code == "invalid_client"
    current = await tokens.current("ES256")
    assert current is not None
    assert not current.sent


@pytest.mark.parametrize("audience", ["token_endpoint", "issuer"])
async def test_jwt_bearer(audience: str, server: Canaille, outbound: Outbound) -> None:
    """Canaille takes an assertion that its own key has signed, for its token endpoint."""
    ask = endpoint(server, outbound, NoAuthentication("signing"), scope="profile")
    grant = JwtBearer(
        key=lambda: SigningKey(SERVER, "RS256", "server"),
        issuer="signing",
        subject=USER,
        audience=audience,
    )
    if audience == "issuer":  # the control: the audience is looked at
        with pytest.raises(TokenRefused):
            await ask.ask(grant)
        return

    said = await server.introspect((await ask.ask(grant)).value, *INSPECTOR)
    assert (said["active"], said["client_id"], said["sub"]) == (True, "signing", USER)
