"""Nobody leads us elsewhere: every hostile URL, at each of the doors, with a listener that counts.

Each door is tried on its own, as if the ones before it were open. The last test takes the doors
away, and the same URLs arrive: the listener can count, and the corpus is alive.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import unused_port
from typing_extensions import override
from yarl import URL

from proxy.errors import ConfigurationError, InvalidRequestError, ProxyError
from proxy.net.urls import CallbackPrefix, allowed, normalise
from proxy.outbound.client import EgressProxy, Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call
from proxy.witboost.callback import Witboost
from tests.conftest import OpenRig
from tests.support import hostile_urls as hostile
from tests.support.rig import API_KEY, GRANT, post_json
from tests.support.systems import always, serving, towards


@dataclass
class Listener:
    """Counts connections on both loopback addresses, and says nothing to them."""

    port: int
    connections: list[str] = field(default_factory=list)

    def met(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(str(writer.get_extra_info("peername")))
        writer.close()

    def urls(self, texts: tuple[str, ...]) -> list[str]:
        return [text.replace("{port}", str(self.port)) for text in texts]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener(unused_port())
    async with AsyncExitStack() as stack:
        hosts = ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",)
        for host in hosts:
            server = await asyncio.start_server(listener.met, host, listener.port)
            await stack.enter_async_context(server)
        yield listener


class Rebinding(AbstractResolver):
    """A name server in hostile hands: every name is this machine, now."""

    asked = 0

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")]
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=numeric
            )
            for kind, address in found
        ]

    @override
    async def close(self) -> None:
        pass


def mistaken(outbound: Outbound, urls: Iterable[str]) -> Destination:
    """Return a destination whose settings wrongly name the origins of hostile URLs themselves."""
    origins = set()
    for url in urls:
        with suppress(ValueError):
            origins.add(f"{URL(url, encoded=True).origin()}/")
    return towards(outbound, *filter(_is_usable, origins), deadline=2_000)


def _is_usable(origin: str) -> bool:
    try:
        url = URL(origin)
        return url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        return False


def post(url: str) -> Call:
    return Call("POST", url, body=b"{}")


def test_the_corpus_is_as_large_as_we_say() -> None:
    assert len(set(hostile.ALL)) == len(hostile.ALL)
    assert len(hostile.ALL) >= 300


async def test_no_hook_call_gets_in_with_a_hostile_url(
    open_rig: OpenRig, listener: Listener
) -> None:
    async with open_rig() as rig:
        for url in listener.urls(hostile.ALL):
            wire = url.encode("utf-8", "replace").decode()
            body = {"respondToUrl": wire, "fields": dict(GRANT)}
            status, answer = await post_json(f"{rig.url}/approval-requests", API_KEY, body)
            assert (status, answer["status"]) == (400, 400), url
        assert await rig.program.store.next_due() is None
        await rig.work()
        assert rig.tickets() == []
    assert listener.connections == []


async def test_the_url_is_checked_again_before_it_is_called(listener: Listener) -> None:
    """The settings may be others than when it was stored; loopback is open, so only this holds."""
    prefix = f"http://127.0.0.1:{listener.port}/api/actionHandler/"
    async with Outbound(loopback=True, resolver=Rebinding()) as outbound:
        witboost = Witboost(
            name="main",
            http=towards(outbound, prefix, deadline=2_000),
            method="PUT",
            memory=None,  # type: ignore[arg-type]  # is not asked where the method is set
            prefixes=[CallbackPrefix.parse("http://w.example/api/actionHandler/")],
        )
        for url in listener.urls(hostile.ALL):
            with pytest.raises(ConfigurationError):
                await witboost.call_back(url, b"{}")
    assert listener.connections == []


async def test_a_destination_calls_nothing_beside_its_path(listener: Listener) -> None:
    prefix = f"http://127.0.0.1:{listener.port}/api/actionHandler/"
    async with Outbound(loopback=True) as outbound:
        desk = towards(outbound, prefix, deadline=2_000)
        for url in listener.urls(hostile.CLIMBING):
            with pytest.raises(ConfigurationError, match="outside the origins and paths"):
                await desk.send(Call("POST", url), repeatable=True)
    assert listener.connections == []


async def test_no_connection_is_made_to_where_nobody_may_go(listener: Listener) -> None:
    """Even where the settings name it: a literal asks no resolver, and a name may be rebound."""
    resolver, counted = Rebinding(), []

    def observe(_name: str, outcome: str, _seconds: float) -> None:
        counted.append(outcome)

    async with Outbound(resolver=resolver, observe=observe) as outbound:
        urls = listener.urls(hostile.ALL)
        desk = mistaken(outbound, urls)
        for url in urls:
            with pytest.raises(ConfigurationError):
                await desk.send(post(url), repeatable=False)
    assert listener.connections == []
    assert resolver.asked > 20
    assert counted.count("refused") > 300


async def test_a_connection_that_another_destination_may_have_is_not_used() -> None:
    """One that is kept open is not made again, so nothing would judge where it leads."""
    async with serving() as system, Outbound(loopback=True) as outbound:
        may, call = towards(outbound, system.origin), Call("GET", f"{system.origin}/")
        for _ in range(2):
            assert (await may.send(call, repeatable=False)).status == 200
        outbound._loopback = False
        may_not = towards(outbound, system.origin)
        with pytest.raises(ConfigurationError, match="is this machine itself"):
            await may_not.send(call, repeatable=False)
        assert (await may.send(call, repeatable=False)).status == 200
    assert len(system.calls) == 3


async def test_what_is_refused_says_what_would_open_it() -> None:
    async with Outbound() as outbound:
        for url, advice in {
            "http://127.0.0.1:1/": "outbound.loopback: true",
            "http://10.1.2.3:1/": "10.1.2.3 is not public; if it is right, open its network in"
            " ticket_systems.desk.networks",
            "http://169.254.169.254/": "never called",
        }.items():
            desk = outbound.destination(
                "desk",
                origins=[url],
                deadline=1_000,
                concurrency=1,
                credential=NoCredential(),
                networks_setting="ticket_systems.desk.networks",
            )
            with pytest.raises(ConfigurationError, match="desk: nothing was sent to") as caught:
                await desk.send(Call("GET", url), repeatable=True)
            assert advice in str(caught.value)


async def test_no_redirect_is_followed_to_any_of_them(listener: Listener) -> None:
    statuses = (301, 302, 303, 307, 308)
    async with serving() as system, Outbound(loopback=True, resolver=Rebinding()) as outbound:
        desk = towards(outbound, system.origin)
        for turn, url in enumerate(listener.urls(hostile.ALL)):
            if not (url.isascii() and url.isprintable()):
                continue
            status = statuses[turn % len(statuses)]
            system.respond = always(status, headers={"Location": url, "Refresh": f"0;url={url}"})
            answer = await desk.send(Call("GET", f"{system.origin}/x"), repeatable=True)
            assert answer.status == status
    assert listener.connections == []


@asynccontextmanager
async def relay() -> AsyncIterator[tuple[str, list[str]]]:
    """An HTTP proxy that notes what it is asked for, and answers itself."""
    asked: list[str] = []

    async def note(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(str(request.url))
        return web.Response(status=403 if request.method == "CONNECT" else 204)

    runner = web.ServerRunner(web.Server(note))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with relay() as (proxy, asked), serving() as system:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        call = Call("GET", f"{system.origin}/x")
        async with Outbound(loopback=True) as outbound:
            await towards(outbound, system.origin).send(call, repeatable=True)
        assert (len(system.calls), asked) == (1, [])
        # the control: named in the settings it is used, and the system is not reached
        async with Outbound(loopback=True, proxy=EgressProxy(proxy)) as outbound:
            answer = await towards(outbound, system.origin).send(call, repeatable=True)
            assert answer.status == 204
            with pytest.raises(ConfigurationError, match="answered 403 for https://w"):
                await towards(outbound, "https://w.example").send(
                    Call("GET", "https://w.example/"), repeatable=True
                )
        assert len(system.calls) == 1
        assert asked[0] == f"{system.origin}/x"
        # and the proxy is somewhere that must be open as well
        async with Outbound(proxy=EgressProxy(proxy)) as outbound:
            with pytest.raises(ConfigurationError, match="this machine itself"):
                await towards(outbound, system.origin).send(call, repeatable=True)


async def test_with_the_doors_taken_away_they_all_arrive(listener: Listener) -> None:
    """The negative control."""
    arrived = 0
    async with Outbound(loopback=True, resolver=Rebinding()) as outbound:
        urls = listener.urls((*hostile.PLACES, *hostile.READ_IN_TWO_WAYS))
        climbing = listener.urls(hostile.CLIMBING)
        desk = mistaken(outbound, urls)
        for url in [*urls, *climbing]:
            before = len(listener.connections)
            with pytest.raises(ProxyError):
                await desk.send(post(url), repeatable=False)
            came = len(listener.connections) > before
            assert came or url not in climbing
            arrived += came
    assert arrived - len(climbing) > 40


def test_the_rule_of_intake_alone_refuses_them_all(listener: Listener) -> None:
    prefixes = [CallbackPrefix.parse("https://w.example/api/actionHandler/")]
    for url in listener.urls(hostile.ALL):
        try:
            assert not allowed(normalise(url), prefixes), url
        except InvalidRequestError:
            continue
