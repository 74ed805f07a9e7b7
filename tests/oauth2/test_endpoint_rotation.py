"""A token endpoint that knows other secrets, other keys or another time than we do."""

from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import ECKey, RSAKey

from proxy.errors import TemporaryError
from proxy.oauth2 import endpoint as endpoint_module
from proxy.oauth2.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
)
from proxy.oauth2.endpoint import TokenEndpoint
from proxy.oauth2.grants import AuthorizationCode, ClientCredentials, Grant, JwtBearer, RefreshToken
from proxy.oauth2.tokens import TokenRefused
from proxy.outbound.client import Outbound
from proxy.security.private_keys import SigningKey
from tests.oauth2.strict_server import CLIENT, ODD_SECRETS, StrictServer, token_endpoint
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, always, drop, in_turn

SECRET = "canary-secret"
BASIC = ClientSecretBasic(CLIENT, lambda: SECRET)
KEY = ECKey.generate_key("P-256")
SIGNED = PrivateKeyJwt(CLIENT, lambda: SigningKey(KEY, "ES256"))
BEARER = JwtBearer(key=lambda: SigningKey(KEY, "ES256"), issuer=CLIENT, subject="desk")
MINUTES = 60_000
GOOD = {"access_token": "canary-token", "token_type": "Bearer"}


@pytest.fixture
def ask(outbound: Outbound, system: System) -> TokenEndpoint:
    return token_endpoint(outbound, f"{system.origin}/token", BASIC)


@pytest.mark.parametrize("skew", [-5 * MINUTES, -1 * MINUTES, -4_000, 0, 4_000, 5 * MINUTES])
@pytest.mark.parametrize("grant", [ClientCredentials(), BEARER])
async def test_a_wrong_clock_costs_one_request_once(
    system: System, outbound: Outbound, skew: int, grant: Grant
) -> None:
    """Checklist 11: against a server that allows no tolerance for iat, nbf and exp."""
    strict = StrictServer(keys=[KEY])
    strict.clock.advance(skew)
    system.respond = strict
    ask = token_endpoint(outbound, f"{system.origin}/token", SIGNED)
    for _ in range(5):
        await ask.ask(grant)
    assert len(strict.seen) == 5 + (abs(skew) > 5_000)


@pytest.mark.parametrize("skew", [-5 * MINUTES, 5 * MINUTES])
async def test_without_the_second_try_a_wrong_clock_is_fatal(
    system: System, outbound: Outbound, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    """The negative control of the test above."""
    monkeypatch.setattr(endpoint_module, "TELLING_SKEW", 10 * MINUTES)
    strict = StrictServer(keys=[KEY])
    strict.clock.advance(skew)
    system.respond = strict
    ask = token_endpoint(outbound, f"{system.origin}/token", SIGNED)
    for _ in range(3):
        with pytest.raises(TokenRefused, match="invalid_client"):
            await ask.ask(ClientCredentials())


async def test_a_clock_that_is_set_right_later_is_survived_too(
    system: System, outbound: Outbound
) -> None:
    """Checklist 11: what was learned is learned anew."""
    strict, clock = StrictServer(keys=[KEY]), ManualClock()
    system.respond = strict
    ask = token_endpoint(outbound, f"{system.origin}/token", SIGNED, clock=clock)
    for forward in (5 * MINUTES, 0, 20 * MINUTES, 0):
        clock.advance(forward)
        strict.clock.advance(0 if forward else 10 * MINUTES)
        await ask.ask(ClientCredentials())
        await ask.ask(ClientCredentials())
    assert len(strict.seen) <= 12


@pytest.mark.parametrize("wrong", [-60 * MINUTES, 60 * MINUTES])
async def test_a_gateway_with_a_wrong_date_does_no_harm(
    system: System, outbound: Outbound, wrong: int
) -> None:
    """While assertions are taken, nothing is corrected; after a refusal, our own time stays."""
    strict = StrictServer(keys=[KEY], date_off_by=wrong)
    system.respond = strict
    ask = token_endpoint(outbound, f"{system.origin}/token", SIGNED)
    for _ in range(3):
        await ask.ask(ClientCredentials())
    assert len(strict.seen) == 3
    strict.keys = []
    with pytest.raises(TokenRefused):
        await ask.ask(ClientCredentials())
    strict.keys = [KEY]
    await ask.ask(ClientCredentials())
    assert len(strict.seen) == 6


@pytest.mark.parametrize(
    "unknown",
    [(401, {"error": "invalid_client"}), (401, {}), (401, {"error": "unauthorized_client"})],
)
async def test_two_secrets_are_live_during_a_rotation(
    system: System, outbound: Outbound, unknown: tuple[int, dict[str, Any]]
) -> None:
    """Checklist 15: the one that worked is first from then on."""
    strict = StrictServer(secrets=["old"], unknown=unknown)
    system.respond = strict
    both: list[ClientAuthentication] = [
        ClientSecretBasic(CLIENT, lambda: "new"),
        ClientSecretPost(CLIENT, lambda: "old"),
    ]
    ask = token_endpoint(outbound, f"{system.origin}/token", *both)
    for live, requests in [("old", 2), ("old", 3), ("new", 5), ("new", 6)]:
        strict.secrets = [live]
        await ask.ask(ClientCredentials())
        assert len(strict.seen) == requests
    strict.secrets = []
    with pytest.raises(TokenRefused):
        await ask.ask(ClientCredentials())
    assert len(strict.seen) == 8


async def test_keys_rotate_too_whatever_the_clock_says(system: System, outbound: Outbound) -> None:
    """Checklist 11 and 15 at once."""
    other = RSAKey.generate_key(2048)
    strict = StrictServer(keys=[other])
    strict.clock.advance(5 * MINUTES)
    system.respond = strict
    second = PrivateKeyJwt(CLIENT, lambda: SigningKey(other, "RS256"))
    ask = token_endpoint(outbound, f"{system.origin}/token", SIGNED, second)
    await ask.ask(ClientCredentials())
    assert len(strict.seen) == 4
    await ask.ask(ClientCredentials())
    assert len(strict.seen) == 5


@pytest.mark.parametrize("code", ["invalid_scope", "invalid_grant", "invalid_request"])
async def test_another_secret_is_no_cure_for_another_fault(
    system: System, outbound: Outbound, code: str
) -> None:
    """Checklist 5: no hammering."""
    strict = StrictServer(unknown=(400, {"error": code}))
    system.respond = strict
    ask = token_endpoint(outbound, f"{system.origin}/token", BASIC, BASIC, SIGNED)
    with pytest.raises(TokenRefused, match=code):
        await ask.ask(ClientCredentials())
    assert len(strict.seen) == 1


@pytest.mark.parametrize("secret", ODD_SECRETS)
@pytest.mark.parametrize("kind", [ClientSecretBasic, ClientSecretPost])
async def test_a_server_that_repeats_secrets_does_not_make_us_repeat_them(
    system: System,
    outbound: Outbound,
    secret: str,
    kind: type[ClientSecretBasic | ClientSecretPost],
) -> None:
    """Checklist 12: whether it repeats them as sent, decoded, or escaped in its JSON."""
    secret += "-canary"

    async def repeating(request: web.Request) -> web.Response:
        sent = {"sent": await request.text(), "headers": dict(request.headers), "read": secret}
        said = " ".join(map(str, [sent["read"], sent["sent"], sent["headers"]]))
        return web.json_response({"error": "invalid_client", "error_description": said}, status=401)

    system.respond = repeating
    ask = token_endpoint(outbound, f"{system.origin}/token", kind(CLIENT, lambda: secret))
    with pytest.raises(TokenRefused) as caught:
        await ask.ask(RefreshToken("canary-refresh"))
    shown = f"{caught.value!s}{caught.value!r}{ask!r}"
    assert "canary" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("authentication", "grant", "sent", "requests"),
    [
        (BASIC, ClientCredentials(), False, 3),
        (SIGNED, ClientCredentials(), False, 1),
        (BASIC, BEARER, False, 1),
        (BASIC, RefreshToken("r"), True, 1),
        (BASIC, AuthorizationCode("c", "v"), True, 1),
    ],
)
async def test_a_lost_answer_is_repeated_only_where_that_is_no_replay(
    system: System,
    outbound: Outbound,
    authentication: ClientAuthentication,
    grant: Grant,
    *,
    sent: bool,
    requests: int,
) -> None:
    """Checklist 6 and 9: a code, refresh token or jti that comes twice is an attack to servers."""
    system.respond = drop
    ask = token_endpoint(outbound, f"{system.origin}/token", authentication)
    with pytest.raises(TemporaryError) as caught:
        await ask.ask(grant)
    assert (caught.value.maybe_sent, len(system.calls)) == (sent, requests)


@pytest.mark.parametrize(("status", "sent"), [(429, False), (503, True)])
async def test_a_grant_for_one_use_may_be_used_up_by_an_answer_that_says_nothing(
    system: System, ask: TokenEndpoint, status: int, *, sent: bool
) -> None:
    """Checklist 6: after a 429 it certainly is not."""
    system.respond = always(status)
    with pytest.raises(TemporaryError) as caught:
        await ask.ask(RefreshToken("r"))
    assert caught.value.maybe_sent is sent


async def test_a_lost_answer_is_not_felt_where_it_can_be_repeated(
    system: System, ask: TokenEndpoint
) -> None:
    system.respond = in_turn(drop, StrictServer(secrets=[SECRET]))
    assert (await ask.ask(ClientCredentials())).value == "token-1"
