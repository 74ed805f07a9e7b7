"""Tokens from the authorization server of the demo, used against its API."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import unused_port

from proxy.demo.desk import Desk
from proxy.errors import ConfigurationError, TemporaryError
from proxy.oauth2.client_credentials import ClientCredentials
from proxy.oauth2.requests import ClientAuthentication, ClientSecretBasic, ClientSecretPost
from proxy.oauth2.source import TokenSource
from proxy.outbound import Call, Destination, Outbound
from tests.manual_clock import ManualClock
from tests.systems import drop, serving, towards

SECRET = "a+b%2Fc d:é"


@pytest.fixture
async def desk(clock: ManualClock) -> AsyncIterator[Desk]:
    async with Desk(
        client_id="proxy", client_secret=SECRET, event_secret="unused", clock=clock
    ) as desk:
        yield desk


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(dice=lambda: 0.0) as outbound:
        yield outbound


def source(
    outbound: Outbound,
    desk: Desk,
    clock: ManualClock,
    authentication: ClientAuthentication | None = None,
) -> TokenSource:
    fetch = ClientCredentials(
        http=towards(outbound, desk.url),
        token_url=f"{desk.url}/oauth/token",
        authentication=authentication or ClientSecretBasic("proxy", lambda: SECRET),
        clock=clock,
    )
    return TokenSource(fetch=fetch, clock=clock, dice=lambda: 0.5, name="desk")


async def status(api: Destination, desk: Desk) -> int:
    call = Call("GET", f"{desk.url}/api/tickets?correlation_id=x")
    return (await api.send(call, repeatable=True)).status


@pytest.mark.parametrize("kind", [ClientSecretBasic, ClientSecretPost])
async def test_a_token_opens_the_api(
    outbound: Outbound,
    desk: Desk,
    clock: ManualClock,
    kind: type[ClientSecretBasic | ClientSecretPost],
) -> None:
    credential = source(outbound, desk, clock, kind("proxy", lambda: SECRET))
    api = towards(outbound, desk.url, credential=credential)
    assert await status(api, desk) == 200
    assert desk.authorization.requests == 1


async def test_without_a_token_the_api_is_closed(outbound: Outbound, desk: Desk) -> None:
    assert await status(towards(outbound, desk.url), desk) == 401


async def test_a_token_that_the_api_no_longer_takes_is_renewed_within_the_call(
    outbound: Outbound, desk: Desk, clock: ManualClock
) -> None:
    api = towards(outbound, desk.url, credential=source(outbound, desk, clock))
    assert await status(api, desk) == 200
    desk.authorization.revoke_all()
    assert await status(api, desk) == 200
    assert desk.authorization.requests == 2


async def test_without_renewal_the_same_call_is_refused(
    outbound: Outbound, desk: Desk, clock: ManualClock
) -> None:
    api = towards(
        outbound, desk.url, credential=source(outbound, desk, clock), renew_on=frozenset()
    )
    assert await status(api, desk) == 200
    desk.authorization.revoke_all()
    assert await status(api, desk) == 401


async def test_a_refused_client_is_a_matter_of_configuration_and_asks_once(
    outbound: Outbound, desk: Desk, clock: ManualClock
) -> None:
    wrong = ClientSecretBasic("proxy", lambda: "canary-secret")
    api = towards(outbound, desk.url, credential=source(outbound, desk, clock, wrong))
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="invalid_client") as caught:
            await status(api, desk)
        assert "canary" not in str(caught.value)
    assert desk.authorization.requests == 1
    assert desk.journal.of("created") == []


async def test_raw_basic_is_refused_by_a_server_that_keeps_the_rfc(
    outbound: Outbound, desk: Desk, clock: ManualClock
) -> None:
    raw = ClientSecretBasic("proxy", lambda: SECRET, "raw")
    with pytest.raises(ConfigurationError):
        await source(outbound, desk, clock, raw).headers(desk.url)


async def test_an_unreachable_server_means_that_the_call_was_not_sent(
    outbound: Outbound, desk: Desk, clock: ManualClock
) -> None:
    origin = f"http://127.0.0.1:{unused_port()}"
    fetch = ClientCredentials(
        http=towards(outbound, origin),
        token_url=f"{origin}/oauth/token",
        authentication=ClientSecretBasic("proxy", lambda: SECRET),
        clock=clock,
    )
    credential = TokenSource(fetch=fetch, clock=clock, dice=lambda: 0.5, name="desk")
    with pytest.raises(TemporaryError, match="/oauth/token") as caught:
        await status(towards(outbound, desk.url, credential=credential), desk)
    assert caught.value.sent is False


async def test_a_token_request_whose_answer_is_lost_leaves_no_doubt_about_the_call(
    outbound: Outbound, clock: ManualClock
) -> None:
    async with serving(drop) as system:
        fetch = ClientCredentials(
            http=towards(outbound, system.origin),
            token_url=f"{system.origin}/oauth/token",
            authentication=ClientSecretPost("proxy", lambda: SECRET),
            clock=clock,
        )
        with pytest.raises(TemporaryError) as caught:
            await fetch()
        assert len(system.calls) == 3
    assert caught.value.sent is False
