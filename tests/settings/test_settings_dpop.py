"""`dpop_key` in the settings: what comes of it, and what it leaves alone."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from joserfc.jwk import ECKey

from proxy.app.token_sources import TokenSources, identity, login_key
from proxy.errors import ConfigurationError, SettingsError
from proxy.outbound.client import Outbound
from proxy.outbound.responses import Call
from proxy.settings import Settings, explain, load
from proxy.settings.oauth2 import OAuth2
from proxy.settings.secrets import MASK
from tests.oauth2.possession import Possession
from tests.support.manual_clock import ManualClock
from tests.support.systems import serving, towards

VARIABLE = "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH"


def pem(key: ECKey) -> str:
    return key.as_pem(private=True).decode()


def loaded(example: Path, **auth: Any) -> Settings:
    client = {"kind": "oauth2", "client_id": "proxy", "client_secret": "canary"}
    where = {"token_url": "https://login.example.com/token"}
    return load(example, {VARIABLE: orjson.dumps(client | where | auth).decode()})


def auth_of(settings: Settings) -> OAuth2:
    auth = settings.ticket_systems["desk"].auth
    assert isinstance(auth, OAuth2)
    return auth


async def test_tokens_are_bound_to_the_key_of_the_file_and_follow_it(
    timed: Path, clock: ManualClock
) -> None:
    """A replaced key costs one refused call; nothing has to be started again."""
    keys = [ECKey.generate_key("P-256") for _ in range(2)]
    file = timed.parent / "dpop.pem"
    file.write_text(pem(keys[0]))
    bound, issued = Possession(clock), 0

    async def issue(request: web.Request) -> web.StreamResponse:
        nonlocal issued
        assert not Possession(clock).error(request)
        issued += 1
        answer = {"access_token": f"token-{issued}", "token_type": "DPoP", "expires_in": 3_600}
        return web.json_response(answer)

    async def serve(request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"].removeprefix("DPoP ")
        return web.Response(status=401 if bound.error(request, token) else 200)

    async with serving(issue) as login, serving(serve) as desk, Outbound(loopback=True) as outbound:
        settings = loaded(timed, token_url=login.origin, dpop_key={"key": {"file": str(file)}})
        system = settings.ticket_systems["desk"]
        sources = TokenSources(outbound=outbound, clock=clock, dice=lambda: 0.0, tokens=None)
        source = sources.for_system("desk", system, auth_of(settings))
        http = towards(outbound, desk.origin, credential=source)
        for key in keys:
            file.write_text(pem(key))
            clock.advance(1_000)
            answer = await http.send(Call("POST", f"{desk.origin}/tickets"), repeatable=False)
            assert answer.status == 200
        assert bound.thumbprints == {
            f"token-{number}": key.thumbprint() for number, key in enumerate(keys, 1)
        }
        assert (len(login.calls), len(desk.calls)) == (2, 3)


def test_another_key_is_another_token_and_the_same_login(example: Path) -> None:
    """Tokens of one key are never found by a process that has another."""
    keys = [pem(ECKey.generate_key("P-256")) for _ in range(2)]
    systems = [
        loaded(example, **bound).ticket_systems["desk"]
        for bound in ({}, *({"dpop_key": {"key": key}} for key in keys))
    ]
    auths = [system.auth for system in systems]
    its = [identity(*each) for each in zip(systems, auths, strict=True)]  # type: ignore[arg-type]
    assert len({each.key for each in its}) == 3
    assert len({login_key(*each) for each in zip(systems, auths, strict=True)}) == 1  # type: ignore[arg-type]


def test_the_key_is_a_secret(example: Path) -> None:
    settings = loaded(example, dpop_key={"key": "canary-pem"})
    rows = {key: value for key, value, _ in explain(settings)}
    assert rows["ticket_systems.desk.auth.dpop_key.key"] == MASK
    assert "canary" not in f"{settings!r} {rows}"


def test_what_is_no_key_is_said_at_the_start(example: Path, clock: ManualClock) -> None:
    settings = loaded(example, dpop_key={"key": "canary-pem"})
    sources = TokenSources(
        outbound=Outbound(loopback=True), clock=clock, dice=lambda: 0.0, tokens=None
    )
    with pytest.raises(ConfigurationError, match="signing key cannot be read") as caught:
        sources.for_system("desk", settings.ticket_systems["desk"], auth_of(settings))
    assert "canary" not in str(caught.value)


def test_the_word_before_a_bound_token_is_not_for_choice(example: Path) -> None:
    with pytest.raises(SettingsError, match="scheme: is DPoP with dpop_key"):
        loaded(example, dpop_key={"key": "canary-pem"}, scheme="AR-JWT")
