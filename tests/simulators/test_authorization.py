"""The desk's token endpoint speaks RFC 6749, errors included."""

import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import pytest

from proxy.simulators.desk.server import Desk
from tests.support.demo_program import CLIENT, EVENT_SECRET, Program, TestClock

GRANT = {"grant_type": "client_credentials"}
POSTED = {"client_id": CLIENT[0], "client_secret": CLIENT[1]}


def basic(name: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(name)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@pytest.fixture
async def scoped(clock: TestClock) -> AsyncIterator[Desk]:
    async with Desk(
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        event_secret=EVENT_SECRET,
        clock=clock,
        scopes=("tickets", "events"),
    ) as desk:
        yield desk


async def ask(
    http: aiohttp.ClientSession, desk: Desk, form: Any, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    async with http.post(f"{desk.url}/oauth/token", data=form, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("form", "headers"),
    [(GRANT, basic(*CLIENT)), (GRANT | POSTED, {})],
    ids=["client_secret_basic", "client_secret_post"],
)
async def test_both_client_authentications_get_a_token_that_the_api_takes(
    desk: Desk, http: aiohttp.ClientSession, form: dict[str, str], headers: dict[str, str]
) -> None:
    status, issued = await ask(http, desk, form, headers)
    assert status == 200
    assert issued["token_type"] == "Bearer"
    assert issued["expires_in"] == 3600
    program = Program(desk.url, http)
    assert (await program.create())[0] == 401
    program.token = issued["access_token"]
    assert (await program.create())[0] == 201


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ((GRANT, basic("demo client", "wrong")), (401, "invalid_client")),
        ((GRANT, {"Authorization": "Basic !!"}), (401, "invalid_client")),
        ((GRANT, {}), (401, "invalid_client")),
        ((GRANT | POSTED, basic(*CLIENT)), (400, "invalid_request")),
        (({}, basic(*CLIENT)), (400, "invalid_request")),
        (({"grant_type": "password"}, basic(*CLIENT)), (400, "unsupported_grant_type")),
        ((GRANT | {"scope": "tickets root"}, basic(*CLIENT)), (400, "invalid_scope")),
        ((b"{}", basic(*CLIENT) | {"Content-Type": "application/json"}), (400, "invalid_request")),
    ],
)
async def test_refusals_carry_the_code_of_the_rfc(
    scoped: Desk,
    http: aiohttp.ClientSession,
    sent: tuple[Any, dict[str, str]],
    answered: tuple[int, str],
) -> None:
    assert await ask(http, scoped, *sent) == (answered[0], {"error": answered[1]})
    assert scoped.authorization.requests == 1


async def test_a_known_scope_is_granted_and_named(
    scoped: Desk, http: aiohttp.ClientSession
) -> None:
    status, issued = await ask(http, scoped, GRANT | POSTED | {"scope": "tickets"})
    assert (status, issued["scope"]) == (200, "tickets")


async def test_the_secret_must_be_form_encoded_in_basic(
    desk: Desk, http: aiohttp.ClientSession
) -> None:
    raw = base64.b64encode(":".join(CLIENT).encode()).decode()
    assert (await ask(http, desk, GRANT, {"Authorization": f"Basic {raw}"}))[0] == 401


async def test_a_client_can_be_refused_and_repaired(
    desk: Desk, http: aiohttp.ClientSession
) -> None:
    desk.authorization.refuse_client = True
    assert (await ask(http, desk, GRANT | POSTED))[0] == 401
    desk.authorization.refuse_client = False
    assert (await ask(http, desk, GRANT | POSTED))[0] == 200


async def test_revoked_tokens_are_refused_until_a_new_one_is_fetched(
    desk: Desk, program: Program
) -> None:
    desk.authorization.revoke_all()
    assert (await program.create())[0] == 401
    await program.fetch_token()
    assert (await program.create())[0] == 201
    assert desk.authorization.requests == 2


async def test_a_token_lives_as_long_as_it_says(
    desk: Desk, program: Program, clock: TestClock
) -> None:
    clock.milliseconds += 3600 * 1000 - 1
    assert (await program.create())[0] == 201
    clock.milliseconds += 1
    assert (await program.create())[0] == 401
    assert desk.journal.of("refused", operation="create")


async def test_a_token_without_expires_in_lives_on(
    desk: Desk, program: Program, http: aiohttp.ClientSession, clock: TestClock
) -> None:
    desk.authorization.expires_in = None
    _, issued = await ask(http, desk, GRANT | POSTED)
    assert "expires_in" not in issued
    program.token = issued["access_token"]
    clock.milliseconds += 10**12
    assert (await program.create())[0] == 201
