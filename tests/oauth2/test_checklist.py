"""Fifteen points that an OAuth2 client is judged by: 1 to 7 here, the rest in the next file.

Each goes through the whole chain: a ticket system's API, a token endpoint that takes nothing on
trust, and between them what the program uses: destination, token source, token endpoint, client
authentication. The tables behind each point are in the files beside this one; real processes and
crashes (2, 6) in test_many_processes and test_refreshing, changed files (10, 15) in test_tls and
test_settings_secrets.
"""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.endpoint import TokenParameters
from proxy.oauth2.refresh_grant import RefreshTokenFetcher
from proxy.oauth2.shared_tokens import SharedTokenSlot, TokenIdentity
from proxy.oauth2.token_source import TokenSource
from proxy.outbound.responses import Call, raise_for_status
from proxy.security.key_ring import KeyRing
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.oauth2.chain import BASIC, Chain, OpenChain
from tests.oauth2.strict_server import token_endpoint
from tests.support.systems import always, drop, towards

IDENTITY = TokenIdentity(issuer="i", client_id="c", grant="g")
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("says", "renewed_at", "ended_at"),
    [(3_600, 3_240_000, HOUR), (100, 70_000, 100_000), (None, 270_000, 300_000)],
)
async def test_01_a_token_is_renewed_before_it_ends(
    chain: Chain, says: int | None, renewed_at: int, ended_at: int
) -> None:
    """Expiry - max(30 s, 10 %), from the sending; a random part is in test_token_source."""
    chain.server.says = {"expires_in": says}
    assert await chain.token() == "token-1"
    chain.clock.advance(renewed_at - 1)
    assert await chain.token() == "token-1"
    assert len(chain.issuing.calls) == 1
    chain.clock.advance(1)
    assert await chain.token() == "token-1"
    await chain.renewed()
    assert await chain.token() == "token-2"
    chain.clock.advance(ended_at)
    assert await chain.token() == "token-3"


@pytest.mark.parametrize("says", [0, -5, "soon"])
async def test_01_a_lifetime_that_makes_no_sense_is_not_kept(chain: Chain, says: Any) -> None:
    chain.server.says = {"expires_in": says}
    assert [await chain.token() for _ in range(3)] == ["token-1", "token-2", "token-3"]


@pytest.mark.parametrize(("shared", "requests"), [(True, 1), (False, 3)])
async def test_02_two_hundred_tasks_times_three_ask_once(
    chain: Chain, store: RequestStore, *, shared: bool, requests: int
) -> None:
    """Three sources over one real store; without it, the negative control, each asks once."""

    async def soon(_milliseconds: int) -> None:
        await asyncio.sleep(0)

    tokens = RedisTokens(store, KeyRing([("k", b"k" * 32)]))
    sources = [
        chain.another_source(
            BASIC,
            kept=SharedTokenSlot(store=tokens, key=IDENTITY.key, sleep=soon) if shared else None,
        )
        for _ in range(3)
    ]
    found = await asyncio.gather(*(each.headers("") for each in sources for _ in range(200)))
    assert len(chain.issuing.calls) == requests
    assert len({each["Authorization"] for each in found}) == requests


async def test_03_a_failing_server_is_not_felt_while_the_token_lives(chain: Chain) -> None:
    await chain.token()
    chain.issuing.respond = always(500)
    for _ in range(50):
        chain.clock.advance(HOUR // 50 - 1)
        assert await chain.token() == "token-1"
    chain.clock.advance(50)
    with pytest.raises(TemporaryError, match="answered 500"):
        await chain.call()
    chain.clock.advance(HOUR)
    chain.issuing.respond = chain.server
    assert await chain.token() == "token-2"


async def test_04_a_refused_token_is_replaced_once(chain: Chain) -> None:
    await chain.token()
    chain.revoked.add("token-1")
    assert await chain.token() == "token-2"
    assert len(chain.issuing.calls) == 2


async def test_04_a_second_refusal_is_the_operators_matter(chain: Chain) -> None:
    chain.api.respond = always(401)
    answer = await chain.call()
    with pytest.raises(ConfigurationError):
        raise_for_status(answer, Call("GET", chain.api.origin), system="desk")
    assert (len(chain.issuing.calls), len(chain.api.calls)) == (2, 2)


async def test_04_what_is_not_allowed_is_not_allowed_with_a_fresh_token_either(
    chain: Chain,
) -> None:
    says = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    chain.api.respond = always(403, headers=says)
    assert (await chain.call()).status == 403
    assert (len(chain.issuing.calls), len(chain.api.calls)) == (1, 1)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_client", ConfigurationError),
        (400, "unauthorized_client", ConfigurationError),
        (400, "unsupported_grant_type", ConfigurationError),
        (400, "invalid_scope", ConfigurationError),
        (400, "invalid_target", ConfigurationError),
        (400, "invalid_grant", ConfigurationError),
        (400, "temporarily_unavailable", TemporaryError),
        (429, "", TemporaryError),
        (503, "", TemporaryError),
    ],
)
async def test_05_no_answer_makes_us_hammer(
    chain: Chain, status: int, code: str, kind: type[ProxyError]
) -> None:
    """One request of 100 tasks, then a pause; the API hears nothing of it."""
    chain.issuing.respond = always(
        status, body=f'{{"error": "{code}"}}'.encode(), headers={"Retry-After": "30"}
    )
    for _ in range(2):
        failed = await asyncio.gather(*(chain.call() for _ in range(50)), return_exceptions=True)
        assert {type(each) for each in failed} == {kind}
    assert len(chain.issuing.calls) == 1
    assert chain.api.calls == []
    if kind is TemporaryError:
        assert {getattr(each, "retry_after", None) for each in failed} == {30_000}
        assert {getattr(each, "maybe_sent", None) for each in failed} == {False}
    chain.issuing.respond = chain.server
    chain.clock.advance(30_000)
    assert await chain.token() == "token-1"


@pytest.fixture
def refreshing(chain: Chain, store: RequestStore) -> TokenSource:
    """Let the API be called with tokens of a login, whose tokens live for one call."""
    chain.server.says, chain.server.refresh = {"expires_in": 0}, "refresh-0"
    at = f"{chain.issuing.origin}/token"
    fetch = RefreshTokenFetcher(
        ask=token_endpoint(chain.outbound, at, BASIC).ask,
        tokens=RedisTokens(store, KeyRing([("k", b"k" * 32)])),
        key=IDENTITY.key,
        system="desk",
        within=60_000,
    )
    source = TokenSource(fetch=fetch, clock=chain.clock, dice=lambda: 0.0, name="desk")
    chain.http = towards(chain.outbound, chain.api.origin, credential=source)
    return source


async def test_06_a_rotated_refresh_token_is_stored_before_its_access_token_is_used(
    chain: Chain, store: RequestStore, refreshing: TokenSource
) -> None:
    """And none is sent twice; many processes and crashes are in test_refreshing and its like."""
    tokens = RedisTokens(store, KeyRing([("k", b"k" * 32)]))
    await tokens.put(IDENTITY.key, "refresh-0", system="desk", by="olga")
    stored: list[bool] = []

    async def respond(_request: web.Request) -> web.StreamResponse:
        current = await tokens.current(IDENTITY.key)
        stored.append(current is not None and current.value == chain.server.refresh)
        return web.Response()

    chain.api.respond = respond
    for _ in range(5):
        await chain.token()
    await asyncio.gather(*(refreshing.headers("") for _ in range(20)))
    assert stored == [True] * 5
    sent = [form["refresh_token"][0] for form in chain.server.seen]
    assert len(set(sent)) == len(sent) == 6


@pytest.mark.usefixtures("refreshing")
async def test_06_a_lost_rotation_is_tried_once_and_then_told(
    chain: Chain, store: RequestStore
) -> None:
    """The one window that no client can close."""
    tokens = RedisTokens(store, KeyRing([("k", b"k" * 32)]))
    await tokens.put(IDENTITY.key, "refresh-0", system="desk", by="olga")

    async def losing(request: web.Request) -> web.StreamResponse:
        await chain.server(request)
        return await drop(request)

    chain.issuing.respond = losing
    with pytest.raises(TemporaryError):
        await chain.call()
    chain.issuing.respond = chain.server
    for _ in range(2):
        chain.clock.advance(60_000)
        with pytest.raises(ConfigurationError, match="run approval-proxy login desk"):
            await chain.call()
    assert chain.api.calls == []


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("cache", ["no-store", "max-age=0", "public, max-age=31536000"])
async def test_07_a_token_is_read_by_what_the_rfc_says(chain: Chain, kind: str, cache: str) -> None:
    """The type whatever its case; what HTTP caches may do is no matter of ours."""

    async def respond(request: web.Request) -> web.StreamResponse:
        answer = await chain.server(request)
        answer.headers["Cache-Control"] = cache
        return answer

    chain.server.says |= {"token_type": kind}
    chain.issuing.respond = respond
    assert [await chain.token() for _ in range(2)] == ["token-1"] * 2


@pytest.mark.parametrize(
    "says", [{"token_type": "mac"}, {"token_type": "DPoP"}, {"scope": "a"}, {"access_token": ""}]
)
async def test_07_what_cannot_be_used_is_not(opened: OpenChain, says: dict[str, Any]) -> None:
    async with opened(asked=TokenParameters(scope="a b")) as chain:
        chain.server.says |= says
        with pytest.raises(ConfigurationError):
            await chain.call()
        assert chain.api.calls == []
