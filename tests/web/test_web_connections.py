"""Slow and many clients: each is cut off in time, and without the bound it is not."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
from aiohttp import web

from proxy.errors import InvalidRequestError
from proxy.net.addresses import read_networks
from proxy.web.http.body import read_body
from proxy.web.http.connections import BoundedSite, ConnectionLimits, Connections
from proxy.web.http.trusted_proxies import TrustedProxies

WITHIN = web.AppKey("within", int)
HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"
SOON = 150
"""Milliseconds that a bound allows in these tests."""
PATIENCE = 5.0
"""Seconds within which what must happen has happened."""
STILL_OPEN = 4 * SOON / 1_000
"""Seconds after which what is not bounded is still open."""


@dataclass
class Place:
    """A listener; what it cut, and how to come to it."""

    port: int
    cut: Counter[str] = field(default_factory=Counter)

    async def come(self, said: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(said)
        return reader, writer


async def answer(request: web.Request) -> web.Response:
    try:
        body = await read_body(request, limit=1_000, timeout=request.app[WITHIN])
    except InvalidRequestError as error:
        response = web.Response(status=400, text=str(error))
        response.force_close()
        return response
    return web.Response(body=body or b"fine")


@asynccontextmanager
async def listening(
    peers: TrustedProxies | None = None, *, within: int = SOON, **bounds: int
) -> AsyncIterator[Place]:
    app = web.Application()
    app[WITHIN] = within
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    place = Place(0)
    connections = Connections(
        ConnectionLimits(**bounds), peers or TrustedProxies(), lambda why: place.cut.update([why])
    )
    site = BoundedSite(runner, "127.0.0.1", 0, connections=connections)
    await site.start()
    place.port = runner.addresses[0][1]
    try:
        yield place
    finally:
        await runner.cleanup()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what was said until the other side ended the connection."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionError:
        return b""


async def is_open(reader: asyncio.StreamReader) -> bool:
    try:
        await asyncio.wait_for(reader.read(1), STILL_OPEN)
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return False


async def dripping(writer: asyncio.StreamWriter) -> None:
    """Send a header that never ends, a byte at a time."""
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(SOON / 10_000)


@pytest.mark.parametrize("said", [b"", b"\r\n\r\n", b"GET", HEAD, HEAD + b"X-Slow: "])
async def test_who_does_not_bring_a_request_in_time_is_cut_off(said: bytes) -> None:
    async with listening(first_request=SOON) as place:
        reader, writer = await place.come(said)
        drip = asyncio.create_task(dripping(writer)) if said.endswith(b": ") else None
        assert await ended(reader) == b""
        if drip:
            drip.cancel()
        writer.close()
        assert place.cut == {"silent": 1}


async def test_without_that_bound_it_stays_open() -> None:
    """The negative control: aiohttp's own limit is the idle time."""
    async with listening(first_request=3_600_000) as place:
        reader, writer = await place.come(HEAD + b"X-Slow: ")
        drip = asyncio.create_task(dripping(writer))
        assert await is_open(reader)
        drip.cancel()
        writer.close()


async def test_between_two_requests_a_connection_may_be_idle_so_long() -> None:
    async with listening(first_request=SOON, idle=SOON) as place, listening() as patient:
        for where, cut in ((place, True), (patient, False)):
            reader, writer = await where.come(HEAD + b"\r\n")
            assert (await reader.readuntil(b"fine")).startswith(b"HTTP/1.1 200")
            if cut:
                assert await ended(reader) == b""
            else:
                assert await is_open(reader)
            writer.close()
        assert place.cut == {}


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
@pytest.mark.parametrize("bounded", [True, False])
async def test_who_does_not_read_answers_is_cut_off(*, bounded: bool) -> None:
    """As many requests as the buffers take, and no answer read; without the bound it stays."""
    async with listening(idle=SOON if bounded else 3_600_000) as place:
        _, writer = await place.come()
        reading = cast("asyncio.Transport", writer.transport)
        reading.pause_reading()
        asking = asyncio.create_task(_ask_on(writer))
        done, _ = await asyncio.wait([asking], timeout=PATIENCE if bounded else STILL_OPEN)
        assert bool(done) == bounded
        asking.cancel()
        writer.transport.abort()


async def _ask_on(writer: asyncio.StreamWriter) -> None:
    """Send requests until the connection ends."""
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(HEAD + b"\r\n")
            await writer.drain()


async def test_a_slow_body_has_its_own_deadline() -> None:
    async with listening() as place:
        head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n"
        reader, writer = await place.come(head + b"x" * 20)
        assert b"did not arrive within" in await ended(reader)
        writer.close()
        reader, writer = await place.come(head)
        drip = asyncio.create_task(dripping(writer))  # longer than the deadline, and never done
        await ended(reader)
        drip.cancel()
        writer.close()
    async with listening(within=3_600_000) as patient:  # the negative control
        reader, writer = await patient.come(head)
        assert await is_open(reader)
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-Long: " + b"x" * 9_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
        HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        HEAD + b"X-Control: xxxxxxxxx\x01\r\n\r\n",
        HEAD + b"Content-Length: xxxxxxxxx\r\n\r\n",
    ],
)
async def test_what_cannot_be_read_is_a_problem_that_repeats_nothing(head: bytes) -> None:
    """Nor does it say what we are made of."""
    async with listening() as place:
        reader, writer = await place.come(head)
        status, _, answer = (await ended(reader)).partition(b"\r\n")
        assert b" 400 " in status
        assert b"Content-Type: application/problem+json\r\n" in answer
        assert b"Server: approval-proxy\r\n" in answer
        assert b"cannot be parsed as HTTP" in answer
        assert b"xxxxxxxxx" not in answer
        writer.close()
        reader, writer = await place.come(HEAD + b"\r\n")  # the control
        assert (await reader.readuntil(b"fine")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_one_address_has_only_so_many_connections() -> None:
    async with listening(per_client=5) as place:
        first = [await place.come(HEAD + b"\r\n") for _ in range(5)]
        for reader, _ in first:
            await reader.readuntil(b"fine")
        many = [await place.come(HEAD + b"\r\n") for _ in range(20)]
        assert [await ended(reader) for reader, _ in many] == [b""] * 20
        assert place.cut == {"too_many_of_client": 20}
        first[0][1].write(HEAD + b"\r\n")  # who is in stays in
        assert b"fine" in await first[0][0].readuntil(b"fine")
        for _, writer in (*first, *many):
            writer.close()
            await writer.wait_closed()


def test_whoever_has_one_address_of_ipv6_has_a_network_of_them() -> None:
    cut: list[str] = []
    connections = Connections(ConnectionLimits(per_client=2), TrustedProxies(), cut.append)
    coming = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "fe80::1%eth0"]
    assert [connections.add(it) for it in coming] == [True, True, False, True, True]
    for each in coming:
        connections.remove(each)
    assert connections.add("2001:db8::4")
    mapped = [f"::ffff:192.0.2.{number}" for number in range(5)]
    assert all(connections.add(it) for it in mapped), "these are five clients of IPv4"
    assert cut == ["too_many_of_client"]


async def test_without_that_bound_it_has_as_many_as_it_wants() -> None:
    """The negative control."""
    async with listening() as place:
        many = [await place.come(HEAD + b"\r\n") for _ in range(25)]
        for reader, writer in many:
            assert b"fine" in await reader.readuntil(b"fine")
            writer.close()
        assert place.cut == {}


async def test_a_place_that_becomes_free_is_given_again() -> None:
    async with listening(per_client=1) as place:
        for _ in range(3):
            reader, writer = await place.come(HEAD[:-2] + b"\r\nConnection: close\r\n\r\n")
            assert b"fine" in await ended(reader)
            writer.close()
            await writer.wait_closed()
        assert place.cut == {}


async def test_a_trusted_proxy_may_have_as_many_as_there_are() -> None:
    peers = TrustedProxies(read_networks(["127.0.0.0/8"]))
    async with listening(peers, per_client=1, connections=3) as place:
        first = [await place.come(HEAD + b"\r\n") for _ in range(3)]
        for reader, _ in first:
            await reader.readuntil(b"fine")
        reader, writer = await place.come(HEAD + b"\r\n")
        assert await ended(reader) == b""
        assert place.cut == {"too_many": 1}
        for _, each in (*first, (reader, writer)):
            each.close()
