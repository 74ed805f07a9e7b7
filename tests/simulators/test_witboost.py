"""The simulated witboost sends hook calls and closes each hook once."""

from typing import Any, Literal
from uuid import UUID

import aiohttp
import orjson
import pytest

from proxy.simulators.credentials import (
    Check,
    ServiceAccount,
    SharedSecret,
    StaticBearer,
    lenient_base64,
    signed_jwt,
)
from proxy.simulators.faults import Fault
from proxy.simulators.journal import attempts_at
from proxy.simulators.witboost import HookCall, Witboost
from tests.support.demo_program import Listener, TestClock

OK = {"status": "OK", "hookInfo": {"message": "fine", "correlationId": "c-1"}}
SECRET = "c2VjcmV0LWtleS1mb3ItdGVzdC12ZWN0b3I="
VECTOR = (
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiYWNrc3RhZ2Utc2VydmVyIiwiZXhwIjoxODAwMDAwMDAwfQ"
    ".R-tYLDyM75kKA2WpcB3--D4qPWabnBfzMaGsQF8e8eE"
)


@pytest.fixture
async def call(witboost: Witboost) -> HookCall:
    return await witboost.ask({"verb": "grant"})


async def send(
    http: aiohttp.ClientSession,
    address: str,
    body: Any,
    *,
    method: str = "PUT",
    token: str | None = None,
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with http.request(method, address, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_hook_call_has_what_the_contract_demands(
    witboost: Witboost, listener: Listener
) -> None:
    listener.hook_info["correlationId"] = "c-9"
    call = await witboost.ask({"verb": "grant"})
    headers, body = await listener.next()
    assert UUID(headers["X-Request-ID"]).version == 4
    assert headers["X-API-Key"] == "hook-key"
    assert headers["Content-Type"] == "application/json"
    address = f"{witboost.url}/api/actionHandler/{call.hook_id}"
    assert orjson.loads(body) == {"respondToUrl": address, "fields": {"verb": "grant"}}
    assert (call.status, call.correlation_id) == (202, "c-9")
    assert call.body == {"hookInfo": {"status": "accepted", "correlationId": "c-9"}}
    (entry,) = witboost.journal.of("hook_call")
    assert (entry["hook"], entry["answer"]) == (call.hook_id, 202)
    assert entry["correlation_id"] == "c-9"


async def test_a_lost_answer_to_a_hook_call_is_recorded_and_raised(witboost: Witboost) -> None:
    witboost.hook_url = "http://127.0.0.1:1/"
    with pytest.raises(aiohttp.ClientError):
        await witboost.ask({})
    assert witboost.journal.of("hook_call", answer=None)


async def test_the_first_status_closes_the_hook_the_next_is_a_conflict(
    witboost: Witboost, http: aiohttp.ClientSession, call: HookCall
) -> None:
    status, hook = await send(http, call.respond_to, OK)
    assert status == 200
    assert UUID(hook["actionId"]).version == 4
    assert (hook["hookId"], hook["status"]) == (call.hook_id, "OK")
    assert (hook["hookName"], hook["actionName"]) == ("RemoteRequestHook", "AccessControlAction")
    assert hook["creationAt"] == hook["updateAt"] == "2027-01-15T08:00:00.000Z"
    status, body = await send(http, call.respond_to, OK | {"status": "KO"})
    assert (status, "error" in body) == (409, True)
    final = await witboost.callback(call.hook_id)
    assert (final["status"], final["correlation_id"], final["body"]) == ("OK", "c-1", OK)
    assert [entry["answer"] for entry in witboost.attempts(call.hook_id)] == [200, 409]


async def test_still_pending_leaves_the_hook_open(
    witboost: Witboost, http: aiohttp.ClientSession, call: HookCall
) -> None:
    assert (await send(http, call.respond_to, {"hookInfo": {"message": "wait"}}))[0] == 200
    with pytest.raises(TimeoutError, match=r"attempts \[\('callback', 200\)\]"):
        await witboost.callback(call.hook_id, within=0.01)
    assert (await send(http, call.respond_to, {"status": "KO"}))[0] == 200
    assert (await witboost.callback(call.hook_id))["status"] == "KO"


@pytest.mark.parametrize(
    "body",
    [
        {"status": "accepted"},
        {"status": ["OK"]},
        {"status": "OK", "extra": 1},
        {"status": "OK", "hookInfo": "text"},
        {"hookInfo": None},
        {},
        [],
    ],
)
async def test_a_body_outside_of_the_specification_is_refused(
    witboost: Witboost, http: aiohttp.ClientSession, call: HookCall, body: Any
) -> None:
    assert (await send(http, call.respond_to, body))[0] == 400
    assert witboost.attempts(call.hook_id)[0]["outcome"] == "invalid"


async def test_an_unknown_hook_is_not_found_unless_adopted(
    witboost: Witboost, http: aiohttp.ClientSession
) -> None:
    address = f"{witboost.url}/api/actionHandler/unknown"
    assert (await send(http, address, OK))[0] == 404
    witboost._adopt_unknown_hooks = True
    assert (await send(http, address, OK))[0] == 200
    assert (await send(http, address, OK))[0] == 409


@pytest.mark.parametrize("wrong", [404, 405])
async def test_only_the_configured_method_updates_a_hook(
    http: aiohttp.ClientSession, listener: Listener, wrong: Literal[404, 405]
) -> None:
    async with Witboost(
        hook_url=listener.url, methods=("PATCH",), wrong_method=wrong, check=StaticBearer("t")
    ) as witboost:
        call = await witboost.ask({})
        for method in ("PUT", "POST"):
            assert (await send(http, call.respond_to, OK, method=method))[0] == wrong
        assert (await send(http, call.respond_to, OK, method="PATCH"))[0] == 401
        assert (await send(http, call.respond_to, OK, method="PATCH", token="t"))[0] == 200


async def test_a_url_may_be_used_for_a_second_request(
    witboost: Witboost, http: aiohttp.ClientSession, call: HookCall
) -> None:
    await send(http, call.respond_to, OK)
    again = await witboost.ask({"verb": "grant"}, respond_to=call.respond_to)
    assert again.hook_id == call.hook_id
    assert (await send(http, call.respond_to, OK))[0] == 409
    await witboost.ask({"verb": "revoke"}, respond_to=call.respond_to, reopen=True)
    assert (await send(http, call.respond_to, OK))[0] == 200


def signed(claims: dict[str, Any]) -> str:
    return signed_jwt(claims, lenient_base64(SECRET))


def test_the_test_vector_of_the_shared_secret_is_reproduced() -> None:
    assert signed({"sub": "backstage-server", "exp": 1_800_000_000}) == VECTOR
    check = SharedSecret(SECRET)
    assert check.admits(f"Bearer {VECTOR}", now=1_799_999_999_999)
    assert not check.admits(f"Bearer {VECTOR}", now=1_800_000_000_000)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x.y.z",
        signed({"sub": "backstage-server", "exp": "2000000000"}),
        signed({"sub": "backstage-server", "exp": 2_000_000_000, "aud": "x"}),
        signed({"sub": "somebody", "exp": 2_000_000_000}),
        signed_jwt({"sub": "backstage-server", "exp": 2_000_000_000}, SECRET.encode()),
    ],
)
def test_the_shared_secret_refuses_what_backstage_refuses(token: str) -> None:
    assert not SharedSecret(SECRET).admits(f"Bearer {token}", now=1)


@pytest.mark.parametrize("text", ["YWJj-_8", "YWJj+/8=", "YW Jj.-_8=ignored", "YWJj-_8=\n"])
def test_secrets_are_decoded_as_leniently_as_node_does(text: str) -> None:
    assert lenient_base64(text) == b"abc\xfb\xff"


async def test_an_access_token_is_exchanged_for_a_jwt_that_ends(
    http: aiohttp.ClientSession, listener: Listener, clock: TestClock
) -> None:
    account = ServiceAccount("wbat-1", clock)
    async with Witboost(hook_url=listener.url, check=account, clock=clock) as witboost:
        exchange = f"{witboost.url}/api/auth/access-tokens/jwt"
        order: dict[str, Any] = {"access_token": "wbat-1", "duration_seconds": 60}
        status, body = await send(http, exchange, order, method="POST")
        assert status == 200
        call = await witboost.ask({})
        pending: dict[str, Any] = {"hookInfo": {}}
        assert (await send(http, call.respond_to, pending, token="wbat-1"))[0] == 401
        assert (await send(http, call.respond_to, pending, token=body["jwt"]))[0] == 200
        clock.milliseconds += 60_000
        assert (await send(http, call.respond_to, pending, token=body["jwt"]))[0] == 401
        for refused in (
            {},
            order | {"duration_seconds": 0},
            order | {"duration_seconds": 10**9},
            order | {"scope": 3},
            order | {"more": 3},
        ):
            assert (await send(http, exchange, refused, method="POST"))[0] == 400
        wrong = {"access_token": "wbat-2"}
        assert (await send(http, exchange, wrong, method="POST"))[0] == 401
        account.refuse = True
        assert (await send(http, exchange, order, method="POST"))[0] == 401
        account.refuse = False
        witboost.switch_on(Fault("exchange", "answer", status=500))
        assert (await send(http, exchange, order, method="POST"))[0] == 500
        _, body = await send(http, exchange, order, method="POST")
        account.revoke_all()
        assert (await send(http, call.respond_to, pending, token=body["jwt"]))[0] == 401
        assert account.exchanges == 9


@pytest.mark.parametrize("check", [None, StaticBearer("x")])
async def test_without_a_service_account_nothing_is_exchanged(
    http: aiohttp.ClientSession, check: Check | None
) -> None:
    async with Witboost(check=check) as witboost:
        exchange = f"{witboost.url}/api/auth/access-tokens/jwt"
        assert (await send(http, exchange, {"access_token": "x"}, method="POST"))[0] == 404


async def test_a_callback_suffers_faults_before_and_after_its_effect(
    witboost: Witboost, http: aiohttp.ClientSession, call: HookCall
) -> None:
    http._retry_connection = False  # aiohttp would repeat a PUT by itself
    fault = {"operation": "callback", "kind": "answer", "status": 503, "retry_after": "1"}
    async with http.post(f"{witboost.url}/faults", json=fault) as answer:
        assert answer.status == 204
    assert (await send(http, call.respond_to, OK))[0] == 503
    witboost.switch_on(Fault("callback", "reset", after_effect=True, subject=call.hook_id))
    with pytest.raises(aiohttp.ClientOSError):
        await send(http, call.respond_to, OK)
    assert (await witboost.callback(call.hook_id))["status"] == "OK"
    assert (await send(http, call.respond_to, OK))[0] == 409
    kinds = [entry["kind"] for entry in attempts_at(witboost.journal.entries, call.hook_id)]
    assert kinds == ["fault", "callback", "callback"]


async def test_another_process_lets_witboost_ask(
    witboost: Witboost, http: aiohttp.ClientSession, listener: Listener
) -> None:
    order = {"fields": {"verb": "grant"}}
    status, body = await send(http, f"{witboost.url}/requests", order, method="POST")
    assert (status, body["status"]) == (200, 202)
    assert orjson.loads((await listener.next())[1])["respondToUrl"] == body["respondToUrl"]
    async with http.get(f"{witboost.url}/hooks") as answer:
        hooks = (await answer.json())["hooks"]
    assert [(hook["hookId"], hook["status"]) for hook in hooks] == [(body["hookId"], "PENDING")]
    assert (await send(http, f"{witboost.url}/requests", {}, method="POST"))[0] == 400
    witboost.hook_url = "http://127.0.0.1:1/"
    assert (await send(http, f"{witboost.url}/requests", order, method="POST"))[0] == 502
