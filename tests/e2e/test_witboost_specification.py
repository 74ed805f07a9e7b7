"""Both talks with witboost keep its two specifications; prism stands between and judges."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import pytest
from aiohttp import web

from proxy.domain.models import State
from proxy.simulators.credentials import StaticBearer
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import HookCall, Witboost
from tests.conftest import OpenRig
from tests.e2e.npm import npm_program
from tests.e2e.prism import SCRIPT, prism, violations
from tests.support.rig import API_KEY, GRANT, Rig

HOOK = "witboost-remote-request-hook.openapi.yaml"
CALLBACK = "witboost-hook-status.openapi.yaml"
TOKEN = "callback-token-for-tests"
BEARER: Mapping[str, Any] = {"kind": "static_bearer", "token": TOKEN}
HEADERS = {
    "Content-Type": "application/json",
    "X-Request-ID": "6a3c5be8-9c1b-4b8e-8f39-1d2d1c0f0001",
    "X-API-Key": API_KEY,
}
WHOLE = '{"respondToUrl": "URL", "fields": {"verb": "grant"}}'
BROKEN: Sequence[tuple[dict[str, str], str, int]] = (
    ({"X-API-Key": ""}, WHOLE, 401),
    ({"X-Request-ID": ""}, WHOLE, 400),
    ({"X-Request-ID": "seven"}, WHOLE, 400),
    ({"Content-Type": "text/plain"}, WHOLE, 400),
    ({}, '{"fields": {}}', 400),
    ({}, '{"respondToUrl": 7, "fields": {}}', 400),
    ({}, '{"respondToUrl": "URL"}', 400),
    ({}, '{"respondToUrl": "URL", "fields": []}', 400),
    ({}, '["respondToUrl", "fields"]', 400),
)
SECOND = 1_000
MINUTE = 60 * SECOND

pytestmark = pytest.mark.timeout(600)  # the first test may install prism


class Between(Protocol):
    """Starts everything, with prism on both ways."""

    def __call__(
        self,
        *,
        method: str = ...,
        strict: bool = ...,
        credential: Mapping[str, Any] = ...,
        **settings: Any,
    ) -> AbstractAsyncContextManager[Rig]: ...


@pytest.fixture(scope="session")
def program() -> tuple[str, str]:
    return npm_program(SCRIPT)


@pytest.fixture
def between(program: tuple[str, str], open_rig: OpenRig) -> Between:
    @asynccontextmanager
    async def opened(
        *,
        method: str = "PUT",
        strict: bool = True,
        credential: Mapping[str, Any] = BEARER,
        **settings: Any,
    ) -> AsyncIterator[Rig]:
        @asynccontextmanager
        async def instance(witboost: Witboost) -> AsyncIterator[Mapping[str, Any]]:
            async with prism(program, CALLBACK, witboost.url) as url:
                witboost._public_url = url  # what it gives as respondToUrl
                prefixes = [f"{url}/api/actionHandler/"]
                yield {"callback_urls": prefixes, "credential": dict(credential)}

        takes = {"methods": [method], "check": StaticBearer(TOKEN)}
        async with (
            open_rig(witboost=takes, instance=instance, **settings) as rig,
            prism(program, HOOK, rig.url, strict=strict) as url,
        ):
            rig.witboost.hook_url = f"{url}/approval-requests"
            yield rig

    return opened


async def accepted(rig: Rig, fields: Mapping[str, Any] = GRANT, **how: Any) -> HookCall:
    """Send a hook call; both it and its answer must keep the specification."""
    call = await rig.ask(fields, **how)
    assert not violations(call.headers)
    return call


async def decided(rig: Rig, outcome: str, fields: Mapping[str, Any] = GRANT) -> HookCall:
    """Play one request up to its decision, and let the callback be sent."""
    call = await accepted(rig, fields)
    await rig.work()
    rig.desk.decide(rig.tickets()[-1]["id"], outcome, by="olga")
    await rig.work(after=2 * SECOND)
    return call


def own(call: HookCall) -> int:
    """Return the status of a refusal: ours, not prism's, and as the specification has it."""
    assert not violations(call.headers)
    assert call.body is not None
    assert call.body["type"] == "about:blank"
    return call.status


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
async def test_every_callback_keeps_the_specification(method: str, between: Between) -> None:
    """Whatever is decided; the method is found out, so a wrong one's 404 is played as well."""
    async with between(method=method) as rig:
        granted = await decided(rig, "approved")
        refused = await decided(rig, "rejected")
        revoked = await decided(rig, "approved", {**GRANT, "verb": "revoke"})
        finals = [(rig.final(call) or {})["status"] for call in (granted, refused, revoked)]
        assert finals == ["OK", "KO", "OK"]
        last = [rig.witboost.attempts(call.hook_id)[-1] for call in (granted, refused, revoked)]
        assert [attempt["method"] for attempt in last] == [method] * 3


async def test_a_repeated_callback_keeps_the_specification(between: Between) -> None:
    """The answer is lost, the second attempt is told 409, and that is the end."""
    async with between() as rig:
        rig.witboost.switch_on(Fault("callback", "reset", after_effect=True))
        call = await decided(rig, "approved")
        assert await rig.state(call) is State.DECIDED
        await rig.work(after=MINUTE)
        assert await rig.state(call) is State.DONE
        assert rig.witboost.attempts(call.hook_id)[-1]["answer"] == 409


async def test_every_answer_of_the_hook_api_keeps_the_specification(between: Between) -> None:
    async with between() as rig:
        first = await accepted(rig)
        again = await accepted(rig, respond_to=first.respond_to)
        assert again.body == first.body
        other = await rig.witboost.ask({"verb": "revoke"}, respond_to=first.respond_to)
        assert own(other) == 400
        foreign = await rig.witboost.ask(dict(GRANT), respond_to="https://other.example.com/1")
        assert own(foreign) == 400
        rig.witboost._api_key = "a-wrong-key"
        stranger = await rig.witboost.ask(dict(GRANT))
        assert own(stranger) == 401


async def test_the_answer_of_a_full_backlog_keeps_the_specification(between: Between) -> None:
    async with between(limits={"backlog": 3, "slow_from": 3}) as rig:
        for _ in range(3):
            await accepted(rig)
        full = await rig.witboost.ask(dict(GRANT))
        assert own(full) == 500
        assert "Retry-After" in full.headers


async def test_a_call_that_breaks_the_specification_gets_an_answer_that_keeps_it(
    between: Between,
) -> None:
    """Prism lets these through and says of both sides what is wrong: only ever of the call."""
    async with between(strict=False) as rig:
        for headers, body, status in BROKEN:
            content = body.replace("URL", f"{rig.witboost.url}/api/actionHandler/1")
            sent = {name: text for name, text in (HEADERS | headers).items() if text}
            assert rig.witboost.hook_url is not None
            async with rig.witboost.client.post(
                rig.witboost.hook_url, data=content, headers=sent
            ) as answer:
                problem = await answer.json(content_type="application/problem+json")
                sides = {found["location"][0] for found in violations(answer.headers)}
            assert (answer.status, sides) == (status, {"request"}), (headers, body, problem)


async def test_a_wrong_answer_of_the_hook_api_is_caught(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the same judge finds an answer that is none of the specification's."""

    def wrong(_: object, status: int) -> web.Response:
        return web.json_response({"hookInfo": "accepted"}, status=status)

    monkeypatch.setattr("proxy.web.hook.json_response", wrong)
    async with between() as rig:
        call = await rig.witboost.ask(dict(GRANT))
        assert call.status == 500
        places = [found["location"] for found in violations(call.headers)]
        assert places == [["response", "body", "hookInfo"]]


async def test_a_wrong_callback_is_caught(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: a body that is none of the specification's never reaches witboost."""
    monkeypatch.setattr("proxy.flow.callback_body", lambda *_: b'{"status": "APPROVED"}')
    async with between() as rig:
        call = await decided(rig, "approved")
        assert await rig.state(call) is State.DECIDED
        assert "422" in (await rig.entry(call)).details.reason
        assert not rig.witboost.attempts(call.hook_id)


async def test_a_callback_without_a_credential_is_caught(between: Between) -> None:
    """Negative control: the specification asks for a bearer token."""
    async with between(credential={"kind": "none"}) as rig:
        call = await decided(rig, "approved")
        assert await rig.state(call) is State.DECIDED
        assert "401" in (await rig.entry(call)).details.reason
        assert not rig.witboost.attempts(call.hook_id)
