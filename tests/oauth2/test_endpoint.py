"""Asking a token endpoint over real sockets, and whatever it may answer."""

from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import ECKey

from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.client_authentication import ClientSecretBasic, PrivateKeyJwt
from proxy.oauth2.discovery import StaticMetadata
from proxy.oauth2.endpoint import TokenEndpoint, TokenParameters
from proxy.oauth2.grants import ClientCredentials, JwtBearer, RefreshToken
from proxy.oauth2.tokens import TokenRefused
from proxy.outbound.client import Outbound
from proxy.security.private_keys import SigningKey
from tests.oauth2.strict_server import CLIENT, StrictServer, token_endpoint
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, always, serving

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


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    "code",
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "access_denied",
    ],
)
async def test_every_code_of_the_rfc_is_a_refusal(
    system: System, ask: TokenEndpoint, status: int, code: str
) -> None:
    """Checklist 5: RFC 6749 5.2 and RFC 8707 2; asked once, and never taken for a passing fault."""
    said = {"error": code, "error_description": 'no "such" \\ thing', "error_uri": "https://x"}
    system.respond = always(status, body=web.json_response(said).body)
    with pytest.raises(TokenRefused, match=code) as caught:
        await ask.ask(ClientCredentials())
    assert caught.value.code == code
    assert 'no "such" \\ thing' in str(caught.value)
    assert len(system.calls) == 1


@pytest.mark.parametrize(("status", "code"), [(400, ""), (401, "invalid_client"), (403, "")])
@pytest.mark.parametrize(
    "answered",
    [
        {"body": b""},
        {"body": b"<html><body>Sign in</body></html>"},
        {"body": b"Sign in", "content_type": "text/html"},
        {"body": b"[]", "content_type": "application/json"},
        {"body": b'{"error": ', "content_type": "application/json"},
        {"body": b"\xff\xfe"},
        {"body": b"x" * 1_000_000},
    ],
)
async def test_a_refusal_without_words_is_one_too(
    system: System, ask: TokenEndpoint, status: int, code: str, answered: dict[str, Any]
) -> None:
    """Checklist 5: gateways answer pages, which are never quoted."""
    system.respond = always(status, **answered)
    with pytest.raises(TokenRefused, match=f"answered {status}") as caught:
        await ask.ask(ClientCredentials())
    assert caught.value.code == code
    assert "Sign in" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    ("wanted", "pause"),
    [
        ("9", 9_000),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120_000),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
    ],
)
async def test_what_passes_is_asked_again_when_the_server_wants(
    system: System, ask: TokenEndpoint, status: int, wanted: str, pause: int | None
) -> None:
    """Checklist 5: the server's own time counts; the call that needs the token was not sent."""
    headers = {"Retry-After": wanted, "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    system.respond = always(status, headers=headers, body=b'{"access_token": "canary-token"}')
    with pytest.raises(TemporaryError) as caught:
        await ask.ask(ClientCredentials())
    assert (caught.value.retry_after, caught.value.maybe_sent) == (pause, False)
    assert "canary" not in str(caught.value)
    assert len(system.calls) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(system: System, ask: TokenEndpoint, status: int) -> None:
    """Checklist 7: neither client nor grant is shown to another server."""
    async with serving() as elsewhere:
        system.respond = always(status, headers={"Location": f"{elsewhere.origin}/token"})
        with pytest.raises(TokenRefused, match="redirects are never followed"):
            await ask.ask(ClientCredentials())
        assert elsewhere.calls == []
    assert len(system.calls) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"canary-token",
        b'"canary-token"',
        b'["canary-token"]',
        b"null",
        b"{}",
        b'{"access_token": ""}',
        b'{"access_token": 5}',
        b'{"access_token": "canary\\r\\nX: 1"}',
        b'{"error": "invalid_client", "token": "canary"}',
        b"<html>canary</html>",
        b'{"access_token": "canary-token", "token_type": "mac"}',
        b'{"access_token": "canary-token", "expires_in": 1' + b"0" * 400 + b"}",
        b"[" * 60_000,
    ],
)
async def test_a_success_without_a_token_is_none(
    system: System, ask: TokenEndpoint, body: bytes
) -> None:
    """Checklist 7: and what a 200 says is not quoted, for it may be a token."""
    system.respond = always(200, body=body, content_type="application/json")
    with pytest.raises(ConfigurationError) as caught:
        await ask.ask(ClientCredentials())
    assert "canary" not in str(caught.value)
    assert len(system.calls) == 1


@pytest.mark.parametrize("status", [201, 202, 204, 206])
async def test_only_a_200_is_a_success(system: System, ask: TokenEndpoint, status: int) -> None:
    """Checklist 7: RFC 6749 5.1."""
    system.respond = always(status, body=b'{"access_token": "canary-token"}')
    with pytest.raises(ProxyError) as caught:
        await ask.ask(ClientCredentials())
    assert "canary" not in str(caught.value)


async def test_an_answer_of_more_than_64_kb_is_not_read_on(
    system: System, ask: TokenEndpoint
) -> None:
    """Checklist 7."""
    system.respond = always(200, body=b'{"access_token": "' + b"x" * 65_536 + b'"}')
    with pytest.raises(TemporaryError, match="longer than 65536 bytes") as caught:
        await ask.ask(ClientCredentials())
    assert caught.value.maybe_sent is False
    assert len(system.calls) == 1


@pytest.mark.parametrize(
    ("says", "lifetime"),
    [
        ({}, 300_000),
        ({"expires_in": None}, 300_000),
        ({"expires_in": 0}, 0),
        ({"expires_in": -1}, 0),
        ({"expires_in": 0.5}, 500),
        ({"expires_in": 59.999}, 59_999),
        ({"expires_in": "3600.0"}, 3_600_000),
        ({"expires_in": "soon"}, 0),
        ({"expires_in": "NaN"}, 0),
        ({"expires_in": {"seconds": 5}}, 0),
        ({"expires_in": 10**12}, 86_400_000),
    ],
)
async def test_a_lifetime_of_any_shape_counts_from_the_sending(
    system: System, outbound: Outbound, says: dict[str, Any], lifetime: int
) -> None:
    """Checklist 1: while the answer is under way, the token is already ageing."""
    clock = ManualClock()
    clock.advance(17)

    async def slowly(_request: web.Request) -> web.Response:
        clock.advance(4_000)
        return web.json_response(GOOD | says)

    system.respond = slowly
    asked = token_endpoint(outbound, f"{system.origin}/token", BASIC, clock=clock)
    token = await asked.ask(ClientCredentials())
    assert (token.value, token.sent_at, token.lifetime) == ("canary-token", 17, lifetime)


@pytest.mark.parametrize("says", [{}, {"scope": None}, {"scope": "b a more"}])
async def test_everything_asked_for_arrives_as_written(
    system: System, outbound: Outbound, says: dict[str, Any]
) -> None:
    """RFC 6749 3.3, RFC 8707 2; a scope that the answer leaves out is the one asked for (5.1)."""
    strict = StrictServer(secrets=[SECRET], says=says, refresh="r")
    system.respond = strict
    asked = TokenParameters(
        scope="a b",
        resource=["https://one.example/?x=1&y=2", "urn:two"],
        audience="ü + &",
        extra={"tenant": "a+b%2Fc d", "empty": ""},
    )
    ask = token_endpoint(outbound, f"{system.origin}/token", BASIC, asked=asked)
    await ask.ask(ClientCredentials())
    assert strict.seen == [
        {
            "grant_type": ["client_credentials"],
            "scope": ["a b"],
            "resource": ["https://one.example/?x=1&y=2", "urn:two"],
            "audience": ["ü + &"],
            "tenant": ["a+b%2Fc d"],
            "empty": [""],
        }
    ]
    await ask.ask(RefreshToken("r"))
    assert "scope" not in strict.seen[1]


async def test_what_was_not_asked_for_is_not_sent(system: System, outbound: Outbound) -> None:
    strict = StrictServer(secrets=[SECRET])
    system.respond = strict
    await token_endpoint(outbound, f"{system.origin}/token", BASIC).ask(ClientCredentials())
    assert strict.seen == [{"grant_type": ["client_credentials"]}]


@pytest.mark.parametrize("name", ["grant_type", "scope", "resource", "client_id", "client_secret"])
async def test_an_extra_parameter_does_not_come_twice(
    system: System, outbound: Outbound, name: str
) -> None:
    """RFC 6749 3.2; servers differ in which of two they believe."""
    asked = TokenParameters(scope="a", resource=["urn:one"], extra={name: "canary"})
    ask = token_endpoint(outbound, f"{system.origin}/token", BASIC, asked=asked)
    with pytest.raises(ConfigurationError, match=f"`extra` names {name}") as caught:
        await ask.ask(ClientCredentials())
    assert "canary" not in str(caught.value)
    assert system.calls == []


async def test_less_scope_than_asked_for_is_named(system: System, outbound: Outbound) -> None:
    """Checklist 7: the operator learns which permission is missing, at the first token."""
    system.respond = StrictServer(secrets=[SECRET], says={"scope": "a"})
    ask = token_endpoint(
        outbound, f"{system.origin}/token", BASIC, asked=TokenParameters(scope="a b c")
    )
    with pytest.raises(ConfigurationError, match="did not grant the scope b c"):
        await ask.ask(ClientCredentials())


async def test_an_endpoint_that_moves_gets_a_destination_of_its_own(
    system: System, outbound: Outbound
) -> None:
    """Checklist 13: the new origin is reached, the old one no more."""
    async with serving(StrictServer(secrets=[SECRET])) as other:
        system.respond = StrictServer(secrets=[SECRET])
        ask = token_endpoint(outbound, f"{system.origin}/token", BASIC)
        await ask.ask(ClientCredentials())
        ask._metadata = StaticMetadata("", f"{other.origin}/token")
        await ask.ask(ClientCredentials())
        await ask.ask(ClientCredentials())
        assert (len(system.calls), len(other.calls)) == (1, 2)
