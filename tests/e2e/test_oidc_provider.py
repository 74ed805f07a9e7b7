"""Our client against oidc-provider: every grant it has, with every client authentication.

A token is believed only after the server itself, or its published keys, have said what it is.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from proxy.errors import ConfigurationError
from proxy.oauth2.client_authentication import PrivateKeyJwt, Server
from proxy.oauth2.grants import AuthorizationCode, ClientCredentials, RefreshToken
from proxy.oauth2.login import code_of
from proxy.oauth2.refresh_grant import RefreshTokenFetcher
from proxy.oauth2.tokens import TokenRefused
from proxy.outbound.responses import Call
from proxy.security.key_ring import KeyRing
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.e2e.asking import Asking
from tests.e2e.oidc_clients import CONFIDENTIAL, DPOP, DPOP_PUBLIC, PUBLIC
from tests.e2e.oidc_provider import ACCOUNT, JWT, OPAQUE, REDIRECT_URI, SCOPE

KEY = "k"
KEYED = "private_key_jwt ES256"


@pytest.mark.parametrize("resource", [OPAQUE, JWT])
@pytest.mark.parametrize("name", [*CONFIDENTIAL, *DPOP])
async def test_client_credentials(asking: Asking, name: str, resource: str) -> None:
    client = asking.stage.clients[name]
    token = await asking.endpoint(client, resource).ask(ClientCredentials())
    subject = client.client_id if resource == JWT else None  # introspection names none here
    await asking.check(token, client, resource, subject)


@pytest.mark.parametrize("name", [*CONFIDENTIAL, PUBLIC, *DPOP, DPOP_PUBLIC])
async def test_authorization_code(asking: Asking, name: str) -> None:
    client = asking.stage.clients[name]
    token = await asking.log_in(client, JWT)
    assert token.refresh_token
    await asking.check(token, client, JWT, subject=ACCOUNT)


@pytest.mark.parametrize("name", [*CONFIDENTIAL, PUBLIC, *DPOP, DPOP_PUBLIC])
async def test_refresh_token(asking: Asking, name: str) -> None:
    client = asking.stage.clients[name]
    first = await asking.log_in(client)
    second = await asking.endpoint(client).ask(RefreshToken(first.refresh_token))
    assert second.refresh_token not in {"", first.refresh_token}
    assert second.value != first.value
    await asking.check(second, client, OPAQUE, subject=ACCOUNT)


@pytest.mark.parametrize("name", [*CONFIDENTIAL, *DPOP])
async def test_an_impostor_is_refused(asking: Asking, name: str) -> None:
    """The negative control of every client authentication."""
    client = asking.stage.clients[name]
    impostor = replace(client, right=client.wrong, certificate=client.wrong_certificate)
    with pytest.raises(TokenRefused) as caught:
        await asking.endpoint(impostor).ask(ClientCredentials())
    assert caught.value.code == "invalid_client"


async def test_an_unknown_public_client_is_refused(asking: Asking) -> None:
    client = asking.stage.clients[PUBLIC]
    login = await asking.begin(client)
    code = code_of(await asking.stage.provider.log_in(login.url), login)
    with pytest.raises(TokenRefused) as caught:
        await asking.endpoint(replace(client, right=client.wrong)).ask(
            AuthorizationCode(code, login.verifier, REDIRECT_URI)
        )
    assert caught.value.code == "invalid_client"


async def test_a_wrong_verifier_is_refused(asking: Asking) -> None:
    client = asking.stage.clients[PUBLIC]
    login, other = await asking.begin(client), await asking.begin(client)
    code = code_of(await asking.stage.provider.log_in(login.url), login)
    with pytest.raises(TokenRefused) as caught:
        await asking.endpoint(client).ask(AuthorizationCode(code, other.verifier, REDIRECT_URI))
    assert caught.value.code == "invalid_grant"


async def test_a_scope_that_is_dropped_in_silence_is_noticed(asking: Asking) -> None:
    client = asking.stage.clients[KEYED]
    with pytest.raises(ConfigurationError, match="did not grant the scope all"):
        await asking.endpoint(client, scope=f"{SCOPE} all").ask(ClientCredentials())


@dataclass(slots=True)
class Replaying:
    """Proves itself with the one assertion that it made first."""

    authentication: PrivateKeyJwt
    dated: bool = True
    body: bytes | None = None

    def sign(self, call: Call, server: Server) -> Call:
        """Repeat the first signed form."""
        if self.body is None:
            self.body = self.authentication.sign(call, server).body
        return replace(call, body=self.body)


async def test_only_a_replayed_assertion_is_refused(asking: Asking) -> None:
    client = asking.stage.clients[KEYED]
    ours = asking.endpoint(client)
    assert len({(await ours.ask(ClientCredentials())).value for _ in range(3)}) == 3
    assert isinstance(client.right, PrivateKeyJwt)
    right: Any = Replaying(client.right)
    fixed = asking.endpoint(replace(client, right=right))
    await fixed.ask(ClientCredentials())
    with pytest.raises(TokenRefused) as caught:
        await fixed.ask(ClientCredentials())
    assert caught.value.code == "invalid_client"


async def test_an_old_refresh_token_ends_the_login(asking: Asking) -> None:
    """The negative control of the next test: this server does detect reuse."""
    client = asking.stage.clients[PUBLIC]
    endpoint = asking.endpoint(client)
    first = await asking.log_in(client)
    second = await endpoint.ask(RefreshToken(first.refresh_token))
    for token in (first, second):  # the old one, and by its use the new one
        with pytest.raises(TokenRefused) as caught:
            await endpoint.ask(RefreshToken(token.refresh_token))
        assert caught.value.code == "invalid_grant"


async def test_refreshing_never_uses_an_old_one(asking: Asking, store: RequestStore) -> None:
    """Two processes that share a store refresh at once, again and again: the login survives."""
    client = asking.stage.clients[PUBLIC]
    tokens = RedisTokens(store, KeyRing([("one", b"k" * 32)]))
    await tokens.put(KEY, (await asking.log_in(client)).refresh_token, system="desk", by="olga")
    processes = [
        RefreshTokenFetcher(
            ask=asking.endpoint(client).ask,
            tokens=tokens,
            key=KEY,
            system="desk",
            within=60_000,
            sleep=lambda _milliseconds: asyncio.sleep(0),
        )
        for _ in range(2)
    ]
    got = [
        token for _ in range(3) for token in await asyncio.gather(*(each() for each in processes))
    ]
    assert len({token.value for token in got}) == 6
    assert len({token.refresh_token for token in got}) == 6
    for token in got:
        await asking.check(token, client, OPAQUE, subject=ACCOUNT)
