import base64
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from proxy.errors import ConfigurationError, TemporaryError
from proxy.oauth2.token_source import TokenSource
from proxy.outbound.client import Outbound
from proxy.simulators.credentials import ServiceAccount
from proxy.simulators.witboost import Witboost as Simulator
from proxy.witboost.credentials import AccessTokenExchange, SharedSecret, decode_base64
from tests.support.manual_clock import ManualClock
from tests.support.systems import always, drop, serving, towards

SECRET = "c2VjcmV0LWtleS1mb3ItdGVzdC12ZWN0b3I="
VECTOR = (
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiYWNrc3RhZ2Utc2VydmVyIiwiZXhwIjoxODAwMDAwMDAwfQ"
    ".R-tYLDyM75kKA2WpcB3--D4qPWabnBfzMaGsQF8e8eE"
)


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(loopback=True, dice=lambda: 0.0) as outbound:
        yield outbound


def jwt(claims: Any) -> str:
    return f"e30.{base64.urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip('=')}.x"


def exchange(
    outbound: Outbound, url: str, clock: ManualClock, **settings: Any
) -> AccessTokenExchange:
    return AccessTokenExchange(
        http=towards(outbound, url),
        url=url,
        access_token=lambda: "wbat-canary-token",
        clock=clock,
        **settings,
    )


async def test_the_shared_secret_signs_the_published_vector(clock: ManualClock) -> None:
    clock.advance(1_800_000_000_000 - 3_600_000 - clock.now())
    token = await SharedSecret(lambda: SECRET, clock=clock)()
    assert token.value == VECTOR
    assert token.lifetime == 600_000
    clock.advance(1_000)
    assert (await SharedSecret(lambda: SECRET, clock=clock)()).value != VECTOR


async def test_the_next_token_is_signed_with_the_replaced_secret(clock: ManualClock) -> None:
    live = [SECRET]
    sign = SharedSecret(lambda: live[-1], clock=clock)
    former = (await sign()).value

    live.append("c2Vjb25kLXNlY3JldC1rZXktZm9yLXRlc3Rz")

    assert (await sign()).value != former
    assert (await sign()).value == (await SharedSecret(lambda: live[-1], clock=clock)()).value


@pytest.mark.parametrize("secret", ["QUJD", "abcdefgh"])
async def test_a_short_secret_signs_without_a_warning(clock: ManualClock, secret: str) -> None:
    assert (await SharedSecret(lambda: secret, clock=clock)()).value.count(".") == 2


@pytest.mark.parametrize("secret", ["", "=", "?", "A"])
def test_a_secret_that_is_not_a_key_is_refused(clock: ManualClock, secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"backend\.auth\.keys"):
        SharedSecret(lambda: secret, clock=clock)


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        (SECRET, b"secret-key-for-test-vector"),
        (SECRET.rstrip("="), b"secret-key-for-test-vector"),
        ("YWJj", b"abc"),
        ("YW Jj\n", b"abc"),
        ("Y.W.J.j", b"abc"),
        ("YWJjZ", b"abc"),
        ("YWJj=ZGVm", b"abc"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("+/+/", b"\xfb\xff\xbf"),
        ("é", b""),
    ],
)
def test_secrets_are_decoded_as_node_does(text: str, decoded: bytes) -> None:
    assert decode_base64(text) == decoded


async def test_an_access_token_is_exchanged_for_a_jwt(
    outbound: Outbound, clock: ManualClock
) -> None:
    async with serving(always(200, body=orjson.dumps({"jwt": jwt({})}))) as system:
        token = await exchange(outbound, system.origin + "/", clock)()
        assert (token.value, token.lifetime) == (jwt({}), 300_000)
        full = exchange(outbound, system.origin, clock, duration=90_500, scope="service:x")
        assert (await full()).lifetime == 90_500
        short, long = system.calls
    assert (short.method, short.path) == ("POST", "/api/auth/access-tokens/jwt")
    assert short.headers["Content-Type"] == "application/json"
    assert orjson.loads(short.body) == {"access_token": "wbat-canary-token"}
    assert orjson.loads(long.body) == {
        "access_token": "wbat-canary-token",
        "duration_seconds": 90,
        "scope": "service:x",
    }


@pytest.mark.parametrize(
    ("claims", "lifetime"),
    [
        ({"exp": 1_767_225_600 + 60}, 60_000),
        ({"exp": 1_767_225_600 - 60}, 0),
        ({"exp": 1_600_000_060, "iat": 1_600_000_000}, 60_000),
        ({"exp": 1_900_000_060.5, "iat": 1_900_000_000}, 60_500),
        ({"exp": 10**12}, 86_400_000),
        ({"exp": "soon"}, 300_000),
        ([], 300_000),
        ("x", 300_000),
    ],
)
async def test_the_lifetime_of_a_jwt_comes_from_its_claims(
    outbound: Outbound, clock: ManualClock, claims: Any, lifetime: int
) -> None:
    async with serving(always(200, body=orjson.dumps({"jwt": jwt(claims)}))) as system:
        assert (await exchange(outbound, system.origin, clock)()).lifetime == lifetime


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'"canary"', b"{}", b'{"jwt": null}', b'{"jwt": "a b"}'],
)
async def test_a_response_without_a_jwt_is_a_configuration_error(
    outbound: Outbound, clock: ManualClock, body: bytes
) -> None:
    async with serving(always(200, body=body)) as system:
        with pytest.raises(ConfigurationError, match="without a JWT") as caught:
            await exchange(outbound, system.origin, clock)()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("opaque", ["opaque", "a.b.c", "a.!!!.c"])
async def test_an_opaque_token_is_used_as_it_is(
    outbound: Outbound, clock: ManualClock, opaque: str
) -> None:
    async with serving(always(200, body=orjson.dumps({"jwt": opaque}))) as system:
        token = await exchange(outbound, system.origin, clock)()
    assert (token.value, token.lifetime) == (opaque, 300_000)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409])
async def test_a_refused_exchange_is_a_configuration_error(
    outbound: Outbound, clock: ManualClock, status: int
) -> None:
    body = b'{"message": "wbat-canary-token is revoked"}'
    async with serving(always(status, body=body)) as system:
        with pytest.raises(ConfigurationError, match="no witboost token") as caught:
            await exchange(outbound, system.origin, clock)()
    assert "canary" not in str(caught.value)
    assert not caught.value.request_specific


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_exchange_that_fails_for_now_is_temporary(
    outbound: Outbound, clock: ManualClock, status: int
) -> None:
    async with serving(always(status, headers={"Retry-After": "3"})) as system:
        with pytest.raises(TemporaryError) as caught:
            await exchange(outbound, system.origin, clock)()
        assert (caught.value.retry_after, caught.value.maybe_sent) == (3_000, False)
        system.respond = drop
        with pytest.raises(TemporaryError) as caught:
            await exchange(outbound, system.origin, clock)()
        assert caught.value.maybe_sent is False


async def test_the_demo_witboost_accepts_an_exchanged_token(
    outbound: Outbound, clock: ManualClock
) -> None:
    account = ServiceAccount("wbat-canary-token", clock)
    async with Simulator(check=account, clock=clock) as witboost:
        source = TokenSource(
            fetch=exchange(outbound, witboost.url, clock),
            clock=clock,
            dice=lambda: 0.5,
            name="witboost",
        )
        headers = await source.headers(witboost.url)
        assert account.admits(headers["Authorization"], now=clock.now())
        await source.headers(witboost.url)
        assert account.exchanges == 1


def test_credentials_do_not_show_themselves(outbound: Outbound, clock: ManualClock) -> None:
    assert "canary" not in repr(exchange(outbound, "http://127.0.0.1:1", clock))
    assert SECRET not in repr(SharedSecret(lambda: SECRET, clock=clock))
