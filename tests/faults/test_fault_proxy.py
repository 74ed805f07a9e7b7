"""The fault proxy itself: each fault is what it says, seen by a plain client of a plain server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support.faults.fault_proxy import Fault, FaultProxy
from tests.support.servers import start_server
from tests.support.waiting import wait_until


class Echo:
    """A server that answers each line with the same line, and keeps what it heard."""

    def __init__(self) -> None:
        self.heard = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1_000):
                self.heard += data
                if data.endswith(b"\n"):
                    writer.write(data)
        writer.close()


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, words: bytes = b"hello\n") -> bytes:
        """Send a line and return what comes back until the end of the line or connection."""
        self.writer.write(words)
        return await asyncio.wait_for(self.reader.readuntil(b"\n"), 5)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, FaultProxy(f"tcp://127.0.0.1:{port}") as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Client]:
    host, _, port = proxy.url.removeprefix("tcp://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    yield Client(reader, writer)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_without_a_fault_everything_passes(proxy: FaultProxy) -> None:
    async with connected(proxy) as client:
        assert [await client.ask(), await client.ask(b"x" * 200_000 + b"\n")][0] == b"hello\n"
    assert proxy.exchanges == 2


@pytest.mark.parametrize(
    ("fault", "delivered", "error"),
    [
        (Fault("refuse"), b"", ConnectionResetError),
        (Fault("cut", after=3), b"hel", ConnectionResetError),
        (Fault("drop"), b"hello\n", ConnectionResetError),
        (Fault("reset", after=2), b"hello\n", ConnectionResetError),
        (Fault("truncate", after=2), b"hello\n", asyncio.IncompleteReadError),
        (Fault("half-close"), b"hello\n", asyncio.IncompleteReadError),
    ],
    ids=lambda it: it.kind if isinstance(it, Fault) else "",
)
async def test_a_fault_ends_an_exchange(
    proxy: FaultProxy, echo: Echo, fault: Fault, delivered: bytes, error: type[Exception]
) -> None:
    async with connected(proxy) as client:
        assert await client.ask(b"before\n") == b"before\n"
        echo.heard = b""
        proxy.switch_on(fault)  # also on a connection that was opened before
        with pytest.raises(error):
            await client.ask()
        await wait_until(lambda: echo.heard == delivered)
    async with connected(proxy) as client:
        assert await client.ask(b"again\n") == b"again\n"
    assert (fault.struck, fault.is_on) == (1, False)


async def test_so_many_bytes_pass_and_no_more(proxy: FaultProxy) -> None:
    proxy.switch_on(Fault("truncate", after=4))
    async with connected(proxy) as client:
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await client.ask()
    assert caught.value.partial == b"hell"


async def test_half_closed_the_other_direction_stays_open(proxy: FaultProxy, echo: Echo) -> None:
    proxy.switch_on(Fault("half-close"))
    async with connected(proxy) as client:
        with pytest.raises(asyncio.IncompleteReadError):
            await client.ask()
        client.writer.write(b"still here\n")
        await wait_until(lambda: echo.heard == b"hello\nstill here\n")


async def test_what_hangs_is_neither_delivered_nor_answered(proxy: FaultProxy, echo: Echo) -> None:
    fault = proxy.switch_on(Fault("hang", times=None))
    async with connected(proxy) as client:
        asking = asyncio.create_task(client.ask())
        await wait_until(lambda: fault.struck == 1)
        assert (echo.heard, asking.done()) == (b"", False)
        fault.off()
        with pytest.raises(ConnectionResetError):
            await asking


@pytest.mark.parametrize("fault", [Fault("delay", seconds=0.2), Fault("throttle", rate=500)])
async def test_what_is_slow_arrives_late_and_whole(proxy: FaultProxy, fault: Fault) -> None:
    proxy.switch_on(fault)
    line = b"x" * 99 + b"\n"
    async with connected(proxy) as client:
        began = time.monotonic()
        assert await client.ask(line) == line
        assert time.monotonic() - began >= 0.15
        began = time.monotonic()
        assert await client.ask(line) == line
        assert time.monotonic() - began < 0.15


async def test_refused_for_good_the_door_is_closed_until_it_is_switched_off(
    proxy: FaultProxy,
) -> None:
    fault = proxy.switch_on(Fault("refuse", times=None))
    with pytest.raises(ConnectionRefusedError):
        async with connected(proxy):
            pass
    fault.off()
    await wait_until(lambda: proxy.listens)
    async with connected(proxy) as client:
        assert await client.ask() == b"hello\n"


async def test_a_fault_strikes_a_part_as_the_seed_says(proxy: FaultProxy) -> None:
    """Negative control for chances: neither never nor always, and the same again."""
    fault = proxy.switch_on(Fault("delay", times=None, probability=0.3))
    async with connected(proxy) as client:
        for _ in range(100):
            await client.ask()
    assert 10 < fault.struck < 60
    again = FaultProxy(proxy.url)
    twin = again.switch_on(Fault("delay", times=None, probability=0.3))
    for _ in range(100):
        again.strike()
    assert twin.struck == fault.struck


async def test_the_exchange_that_suffers_can_be_chosen(proxy: FaultProxy) -> None:
    proxy.switch_on(Fault("drop", skip=2))
    async with connected(proxy) as client:
        assert [await client.ask(), await client.ask()] == [b"hello\n"] * 2
        with pytest.raises(ConnectionResetError):
            await client.ask()


async def test_it_stands_before_a_unix_socket(tmp_path: Path) -> None:
    async with (
        await start_server(tmp_path, fsync="everysec") as server,
        FaultProxy(server.url) as proxy,
        Redis.from_url(proxy.url) as client,
    ):
        await client.incr("count")
        proxy.switch_on(Fault("drop"))
        with pytest.raises(RedisConnectionError):
            await client.incr("count")
        assert await client.get("count") == b"2"  # it was delivered
