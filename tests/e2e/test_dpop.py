"""Tokens bound to a key, at oidc-provider, which wants its nonce in every proof (RFC 9449).

Its userinfo endpoint is the API: it takes a bound token only with a fresh proof of that key.
"""

from dataclasses import replace

import pytest
from yarl import URL

from proxy.domain.clock import SystemClock
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.grants import AuthorizationCode, RefreshToken
from proxy.oauth2.login import code_of
from proxy.oauth2.refresh_grant import RefreshTokenFetcher
from proxy.oauth2.token_source import TokenSource
from proxy.oauth2.tokens import Token, TokenRefused
from proxy.outbound.credentials import Credential, NoCredential
from proxy.outbound.responses import Call, Response
from proxy.security.key_ring import KeyRing
from proxy.security.private_keys import load_key
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.e2e.asking import Asking
from tests.e2e.oidc_clients import DPOP, DPOP_PUBLIC, Client, new_key
from tests.e2e.oidc_provider import ACCOUNT, REDIRECT_URI

USERINFO = ""  # no resource: the token is for the server's own endpoint


def source(token: Token, dpop: Dpop | None) -> TokenSource:
    """Return what presents this one token."""

    async def fetch() -> Token:
        return replace(token, sent_at=SystemClock().monotonic())

    return TokenSource(fetch=fetch, clock=SystemClock(), dice=lambda: 0.5, name="api", dpop=dpop)


async def call(asking: Asking, credential: Credential) -> Response:
    """Ask the API who the token's account is."""
    provider = asking.stage.provider
    url = (await provider.metadata())["userinfo_endpoint"]
    api = asking.outbound.destination(
        "api",
        origins=[str(URL(url).origin())],
        deadline=10_000,
        concurrency=2,
        credential=credential,
        ca_file=provider.ca_file,
    )
    return await api.send(Call("GET", url), repeatable=False)


def with_another_key(client: Client) -> Client:
    return replace(client, dpop=load_key(new_key("ES256", "").pem))


@pytest.mark.parametrize("name", [*DPOP, DPOP_PUBLIC])
async def test_the_api_takes_the_token_with_our_proof(asking: Asking, name: str) -> None:
    client = asking.stage.clients[name]
    token = await asking.log_in(client, USERINFO)
    bearing = source(token, client.proofs())
    for _ in range(2):  # with the nonce of its refusal, and then with that of its answer
        answer = await call(asking, bearing)
        assert (answer.status, answer.json()["sub"]) == (200, ACCOUNT)


@pytest.mark.parametrize("thief", ["bearer", "another key", "nothing"])
async def test_the_token_alone_is_of_no_use(asking: Asking, thief: str) -> None:
    """The negative control: whoever has the token and not the key."""
    client = asking.stage.clients[DPOP_PUBLIC]
    token = await asking.log_in(client, USERINFO)
    proofs: dict[str, Credential] = {
        "bearer": source(token, None),
        "another key": source(token, with_another_key(client).proofs()),
        "nothing": NoCredential(),
    }
    assert (await call(asking, proofs[thief])).status in {400, 401}


async def test_a_code_is_redeemed_with_the_key_of_its_login_only(asking: Asking) -> None:
    client = asking.stage.clients[DPOP_PUBLIC]
    login = await asking.begin(client)
    code = code_of(await asking.stage.provider.log_in(login.url), login)
    grant = AuthorizationCode(code, login.verifier, REDIRECT_URI)
    with pytest.raises(TokenRefused) as caught:
        await asking.endpoint(with_another_key(client)).ask(grant)
    assert caught.value.code == "invalid_grant"


async def test_a_refresh_token_of_a_public_client_is_bound_too(asking: Asking) -> None:
    client = asking.stage.clients[DPOP_PUBLIC]
    token = await asking.log_in(client)
    with pytest.raises(TokenRefused) as caught:
        await asking.endpoint(with_another_key(client)).ask(RefreshToken(token.refresh_token))
    assert caught.value.code == "invalid_grant"


async def test_a_client_whose_tokens_must_be_bound_gets_none_without_a_proof(
    asking: Asking,
) -> None:
    client = asking.stage.clients[DPOP[0]]
    token = await asking.log_in(client)
    with pytest.raises(TokenRefused):
        await asking.endpoint(replace(client, dpop=None)).ask(RefreshToken(token.refresh_token))


async def test_a_login_lives_on_through_bound_refreshes(
    asking: Asking, store: RequestStore
) -> None:
    """Rotating, single-use refresh tokens: no nonce of the server makes one be used twice."""
    client = asking.stage.clients[DPOP_PUBLIC]
    tokens = RedisTokens(store, KeyRing([("one", b"k" * 32)]))
    token = await asking.log_in(client, USERINFO)
    await tokens.put("k", token.refresh_token, system="desk", by="olga")
    for _ in range(3):  # each as a new process, which knows no nonce yet
        endpoint = asking.endpoint(client, USERINFO, scope="openid")
        fetch = RefreshTokenFetcher(
            ask=endpoint.ask, tokens=tokens, key="k", system="desk", within=60_000
        )
        answer = await call(asking, source(await fetch(), client.proofs()))
        assert answer.status == 200
