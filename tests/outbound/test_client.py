import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from typing_extensions import override

from proxy.errors import TemporaryError
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential, StaticHeader, WithHeaders
from proxy.outbound.responses import Call
from tests.support.systems import System, always, drop, fine, in_turn, serving, towards


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with serving() as system:
        yield system


@pytest.fixture
def observed() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def outbound(observed: list[tuple[str, str]]) -> AsyncIterator[Outbound]:
    def observe(name: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        observed.append((name, outcome))

    async with Outbound(loopback=True, observe=observe, dice=lambda: 0.0) as outbound:
        yield outbound


async def test_a_call_arrives_as_written_and_its_answer_comes_back(
    outbound: Outbound, system: System, observed: list[tuple[str, str]]
) -> None:
    desk = towards(outbound, system.origin, credential=StaticHeader("X-Key", lambda: "canary"))
    url = f"{system.origin}/a%2Fb/%2e%2e/c?q=a%2Bb+c"
    call = Call("POST", url, {"Content-Type": "application/json"}, b'{"a":1}')
    answer = await desk.send(call, repeatable=False)
    assert (answer.status, answer.json()) == (200, {"fine": True})
    assert answer.headers["content-TYPE"].startswith("application/json")
    sent = system.calls[0]
    assert (sent.method, sent.body) == ("POST", b'{"a":1}')
    assert sent.path == "/a%2Fb/%2e%2e/c?q=a%2Bb+c"
    assert sent.headers["X-Key"] == "canary"
    assert sent.headers["User-Agent"].startswith("approval-proxy/")
    assert observed == [("desk", "2xx")]


async def test_a_redirect_is_an_answer_and_is_not_followed(
    outbound: Outbound, system: System
) -> None:
    system.respond = always(307, headers={"Location": "/elsewhere"})
    desk = towards(outbound, system.origin)
    answer = await desk.send(Call("POST", f"{system.origin}/x", body=b"x"), repeatable=False)
    assert answer.status == 307
    assert len(system.calls) == 1


async def test_cookies_are_not_kept(outbound: Outbound, system: System) -> None:
    system.respond = always(200, headers={"Set-Cookie": "session=1"})
    desk = towards(outbound, system.origin)
    for _ in range(2):
        await desk.send(Call("GET", f"{system.origin}/x"), repeatable=False)
    assert "Cookie" not in system.calls[1].headers


async def test_a_refused_connection_is_proof_that_nothing_was_sent(
    outbound: Outbound, observed: list[tuple[str, str]]
) -> None:
    origin = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(TemporaryError, match="no connection could be made") as caught:
        await towards(outbound, origin).send(
            Call("POST", f"{origin}/x?key=canary"), repeatable=False
        )
    assert not caught.value.maybe_sent
    assert "canary" not in str(caught.value)
    assert observed == [("desk", "unreachable")]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
async def test_a_reset_after_sending_leaves_a_doubt_and_is_not_repeated(
    outbound: Outbound, system: System, observed: list[tuple[str, str]], method: str
) -> None:
    system.respond = drop
    with pytest.raises(TemporaryError, match="the answer was lost") as caught:
        await towards(outbound, system.origin).send(
            Call(method, f"{system.origin}/x"), repeatable=False
        )
    assert caught.value.maybe_sent
    assert len(system.calls) == 1
    assert observed == [("desk", "lost")]


async def test_a_repeatable_call_survives_two_resets(outbound: Outbound, system: System) -> None:
    system.respond = in_turn(drop, drop, fine)
    answer = await towards(outbound, system.origin).send(
        Call("POST", f"{system.origin}/search"), repeatable=True
    )
    assert answer.status == 200
    assert len(system.calls) == 3


async def test_a_repeatable_call_gives_up_after_three_tries(
    outbound: Outbound, system: System
) -> None:
    system.respond = drop
    with pytest.raises(TemporaryError):
        await towards(outbound, system.origin).send(
            Call("GET", f"{system.origin}/x"), repeatable=True
        )
    assert len(system.calls) == 3


async def test_a_truncated_answer_leaves_a_doubt(outbound: Outbound, system: System) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        return await drop(request)

    system.respond = cut
    with pytest.raises(TemporaryError) as caught:
        await towards(outbound, system.origin).send(
            Call("POST", f"{system.origin}/x"), repeatable=False
        )
    assert caught.value.maybe_sent


async def test_the_deadline_after_sending_leaves_a_doubt(
    outbound: Outbound, system: System, observed: list[tuple[str, str]]
) -> None:
    never = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    system.respond = hang
    with pytest.raises(TemporaryError, match="deadline of 100 ms after it was sent") as caught:
        await towards(outbound, system.origin, deadline=100).send(
            Call("POST", f"{system.origin}/x"), repeatable=False
        )
    never.set()
    assert caught.value.maybe_sent
    assert observed == [("desk", "timeout")]


async def test_the_deadline_covers_waiting_for_a_slot_and_for_a_token(
    outbound: Outbound, system: System
) -> None:
    class Stuck(NoCredential):
        @override
        async def headers(self, url: str, method: str = "GET") -> Mapping[str, str]:
            await asyncio.Event().wait()
            return {"never": url + method}

    desk = towards(outbound, system.origin, deadline=100, concurrency=1, credential=Stuck())
    call = Call("POST", f"{system.origin}/x")
    failures = await asyncio.gather(
        *(desk.send(call, repeatable=False) for _ in range(2)), return_exceptions=True
    )
    assert [
        isinstance(e, TemporaryError) and (e.maybe_sent, e.queue_timeout) for e in failures
    ] == [
        (False, False),
        (False, True),
    ]
    assert "waiting for the calls before it" in str(failures[1])
    assert system.calls == []


async def test_only_so_many_calls_run_at_once(outbound: Outbound, system: System) -> None:
    running = most = 0
    full, go = asyncio.Event(), asyncio.Event()

    async def count(_request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await go.wait()
        running -= 1
        return web.Response()

    system.respond = count
    desk = towards(outbound, system.origin, concurrency=3)
    sends = [
        asyncio.create_task(desk.send(Call("POST", f"{system.origin}/x"), repeatable=False))
        for _ in range(9)
    ]
    await full.wait()
    go.set()
    await asyncio.gather(*sends)
    assert (most, len(system.calls)) == (3, 9)


async def test_a_header_whose_value_is_replaced_carries_the_new_one(
    outbound: Outbound, system: System
) -> None:
    live = ["first"]
    credential = StaticHeader("X-Key", lambda: live[-1])
    desk, call = towards(outbound, system.origin, credential=credential), Call("GET", system.origin)

    await desk.send(call, repeatable=False)
    live.append("second")
    await desk.send(call, repeatable=False)

    assert [received.headers["X-Key"] for received in system.calls] == ["first", "second"]


async def test_the_key_of_a_gateway_goes_with_every_call_beside_the_token(
    outbound: Outbound, system: System
) -> None:
    """A refused token is renewed as without it, and what must not change is the proof's own."""

    class Renewed(StaticHeader):
        __slots__ = ()

        @override
        def invalidate(self, headers: Mapping[str, str]) -> bool:
            return headers[self.name] == "Bearer old" and bool(live.pop(0))

    live, keys = ["Bearer old", "Bearer new"], ["k1"]
    proof = Renewed("Authorization", lambda: live[0])
    beside = {"X-Gateway-Key": lambda: keys[-1], "Authorization": lambda: "Bearer other"}
    desk = towards(outbound, system.origin, credential=WithHeaders(proof, beside))

    async def respond(request: web.Request) -> web.StreamResponse:
        refused = request.headers["Authorization"] == "Bearer old"
        return web.Response(status=401 if refused else 200)

    system.respond = respond
    answer = await desk.send(Call("GET", system.origin), repeatable=False)
    keys.append("k2")
    await desk.send(Call("GET", system.origin), repeatable=False)

    assert answer.status == 200
    sent = [(it.headers["Authorization"], it.headers["X-Gateway-Key"]) for it in system.calls]
    assert sent == [("Bearer old", "k1"), ("Bearer new", "k1"), ("Bearer new", "k2")]
