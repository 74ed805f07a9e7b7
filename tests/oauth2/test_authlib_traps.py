"""What authlib would do in our place, and that we do not.

Each test also lets authlib itself fail, as its negative control: where that part of a test goes red
after an upgrade, the trap is gone, and code of ours may be too.
"""

import base64
import contextlib
import subprocess
import sys
from typing import Any
from urllib.parse import unquote_plus

import orjson
import pytest
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc6749.errors import OAuth2Error
from authlib.oauth2.rfc6749.wrappers import OAuth2Token
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import get_well_known_url
from joserfc import jwt
from joserfc.jwk import RSAKey

from proxy.errors import ProxyError
from proxy.oauth2.client_authentication import ClientSecretBasic, PrivateKeyJwt, Server
from proxy.oauth2.discovery import Discovery
from proxy.oauth2.grants import JwtBearer
from proxy.oauth2.token_source import TokenSource
from proxy.oauth2.tokens import Token, TokenRefused, lifetime, parse_token
from proxy.outbound.client import Outbound
from proxy.outbound.responses import Call, Response
from proxy.security.private_keys import SigningKey
from tests.oauth2.strict_server import (
    CLIENT,
    ODD_SECRETS,
    StrictServer,
    connecting,
    fields_of,
    token_endpoint,
)
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, always

NOW = 1_767_225_600_000
URL = "https://as.example.com/token"
SERVER = Server("https://as.example.com", URL, NOW)
CALL = Call("POST", URL, {}, b"grant_type=client_credentials")
KEY = RSAKey.generate_key(2048)


def answer(status: int, tree: Any) -> Response:
    return Response(status, {}, orjson.dumps(tree), f"POST {URL}")


def claims_of(form: bytes) -> dict[str, Any]:
    signed = fields_of(form)["client_assertion"][0]
    return dict(jwt.decode(signed, KEY, algorithms=["RS256"]).claims)


async def test_additional_claims_do_not_fix_the_jti(system: System, outbound: Outbound) -> None:
    """Trap 1: authlib writes `jti` into the caller's claims, so servers see a replay."""
    claims: dict[str, Any] = {"tenant": "t"}
    strict = StrictServer(secrets=["s"], keys=[KEY])
    system.respond = strict
    ask = token_endpoint(outbound, f"{system.origin}/token", ClientSecretBasic(CLIENT, lambda: "s"))
    grant = JwtBearer(
        key=lambda: SigningKey(KEY, "RS256"), issuer=CLIENT, subject="s", claims=claims
    )
    tokens = [await ask.ask(grant) for _ in range(3)]
    assert len({token.value for token in tokens}) == 3
    assert claims == {"tenant": "t"}

    shared: dict[str, Any] = {"tenant": "t"}
    method = PrivateKeyJWT(URL, claims=shared)
    bodies = [method(ClientAuth(CLIENT, KEY), "POST", URL, {}, "x=y")[2] for _ in range(2)]
    assert len({claims_of(body.encode())["jti"] for body in bodies}) == 1
    assert "jti" in shared


def test_an_assertion_is_short_and_goes_with_its_client_id() -> None:
    """Trap 1: authlib's lives for an hour, is for the token endpoint, and comes alone."""
    authentication = PrivateKeyJwt(CLIENT, lambda: SigningKey(KEY, "RS256", "k1"))
    ours = authentication.sign(CALL, SERVER).body or b""
    claims = claims_of(ours)
    assert claims["exp"] - claims["iat"] <= 60
    assert claims["aud"] == SERVER.issuer
    assert fields_of(ours)["client_id"] == [CLIENT]

    _, _, body = PrivateKeyJWT(URL)(ClientAuth(CLIENT, KEY), "POST", URL, {}, "x=y")
    theirs = claims_of(body.encode())
    assert theirs["exp"] - theirs["iat"] == 3_600
    assert "client_id" not in fields_of(body.encode())


def decoded(proof: str) -> str:
    pair = base64.b64decode(proof.removeprefix("Basic ")).decode("ascii")
    return unquote_plus(pair.partition(":")[2])


@pytest.mark.parametrize("secret", [*ODD_SECRETS, "€"])
def test_basic_is_encoded_before_base64(secret: str) -> None:
    """Trap 2: RFC 6749 2.3.1; authlib sends it raw, and fails outside of latin-1."""
    ours = ClientSecretBasic(CLIENT, lambda: secret).sign(CALL, SERVER)
    assert decoded(ours.headers["Authorization"]) == secret

    theirs: dict[str, str] = {}
    with contextlib.suppress(UnicodeError):
        ClientAuth("client", secret, "client_secret_basic").prepare("POST", URL, theirs, "")
    proof = theirs.get("Authorization", "").removeprefix("Basic ")
    assert unquote_plus(base64.b64decode(proof).decode("ascii", "replace")) != f"client:{secret}"


@pytest.mark.parametrize("text", ['say "why"', "a\\b", "ü", "two\nlines", "\x00"])
def test_any_words_of_a_server_can_be_told(text: str) -> None:
    """Trap 3: authlib's error refuses to be made with them."""
    with pytest.raises(TokenRefused, match="invalid_scope") as caught:
        parse_token(answer(400, {"error": "invalid_scope", "error_description": text}), sent_at=0)
    assert caught.value.code == "invalid_scope"
    assert str(caught.value).isprintable()

    with pytest.raises(ValueError, match="forbidden"):
        OAuth2Error(description=text)


@pytest.mark.parametrize(
    ("says", "expected", "readable"),
    [(None, 300_000, True), (0, 0, True), ("3600.0", 3_600_000, False), ("soon", 0, False)],
)
def test_a_lifetime_is_a_number_or_nothing(says: Any, expected: int, *, readable: bool) -> None:
    """Trap 4: to authlib, none and 0 mean for ever, and a text may be an error."""
    assert lifetime(says, 300_000) == expected

    if readable:
        assert OAuth2Token({"access_token": "x", "expires_in": says}).is_expired() is None
    else:
        with pytest.raises(ValueError, match="invalid literal"):
            OAuth2Token({"access_token": "x", "expires_in": says})


async def test_a_short_life_is_used_for_its_first_half_at_least(clock: ManualClock) -> None:
    """Trap 4: with its leeway of 60 s, a token of 30 s has always ended."""
    asked = 0

    async def fetch() -> Token:
        nonlocal asked
        asked += 1
        return Token(f"token-{asked}", clock.monotonic(), 30_000)

    source = TokenSource(fetch=fetch, clock=clock, dice=lambda: 0.0, name="desk")
    for _ in range(14):
        assert await source.headers(URL) == {"Authorization": "Bearer token-1"}
        clock.advance(1_000)
    assert asked == 1

    assert OAuth2Token({"access_token": "x", "expires_in": 30}).is_expired()


async def test_a_final_slash_is_not_inserted(system: System, outbound: Outbound) -> None:
    """Trap 5: RFC 8414 3.1 removes it; authlib keeps it, and OpenID appends instead."""
    system.respond = always(404)
    issuer = f"{system.origin}/realm/"
    with pytest.raises(ProxyError):
        await Discovery(connecting(outbound), issuer, ManualClock()).server()
    assert [call.path for call in system.calls] == [
        "/.well-known/oauth-authorization-server/realm",
        "/realm/.well-known/openid-configuration",
    ]

    assert get_well_known_url(issuer).endswith("/realm/")


@pytest.mark.parametrize(
    ("status", "tree"),
    [
        (429, {"message": "slow down"}),
        (200, {}),
        (200, {"access_token": ""}),
        (401, {"fault": "of a gateway"}),
        (302, {"access_token": "canary"}),
    ],
)
async def test_only_a_token_is_taken_for_one(
    system: System, outbound: Outbound, status: int, tree: dict[str, Any]
) -> None:
    """Authlib takes whatever object has no `error`."""
    system.respond = always(status, body=orjson.dumps(tree))
    ask = token_endpoint(outbound, f"{system.origin}/t", ClientSecretBasic(CLIENT, lambda: "s"))
    with pytest.raises(ProxyError):
        await ask.ask(JwtBearer(key=lambda: SigningKey(KEY, "RS256"), issuer="i", subject="s"))

    class Response:
        status_code = status

        def json(self) -> dict[str, Any]:
            return dict(tree)

    client = OAuth2Client(session=None, client_id="c", token={})
    assert client.parse_response_token(Response()) == tree


async def test_a_kept_token_costs_no_lock_and_no_wait(clock: ManualClock) -> None:
    """Authlib's client takes its lock on every request; ours does not even suspend."""

    async def fetch() -> Token:
        return Token("token", clock.monotonic(), 3_600_000)

    source = TokenSource(fetch=fetch, clock=clock, dice=lambda: 0.0, name="desk")
    await source.headers(URL)
    with pytest.raises(StopIteration) as ended:
        source.headers(URL).__await__().__next__()
    assert ended.value.value == {"Authorization": "Bearer token"}


def test_nothing_deprecated_and_no_second_http_client_is_imported() -> None:
    """authlib.jose goes away with authlib 2; its clients would bring an HTTP stack of their own."""
    program = (
        "import sys, proxy.oauth2.endpoint, proxy.oauth2.login, proxy.oauth2.token_source\n"
        "bad = {'httpx', 'httpx2', 'requests', 'anyio'} & set(sys.modules)\n"
        "print(sorted(bad | {name for name in sys.modules if name.startswith('authlib.jose')}))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
