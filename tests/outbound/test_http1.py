"""What goes over the wire, byte for byte, against a server that answers by hand."""

import asyncio
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from proxy.errors import TemporaryError
from proxy.outbound.client import EgressProxy, Outbound
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call
from tests.support.systems import towards

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class ByHand:
    """Answers each message that comes with the next of some bytes; None is the end of them.

    Attributes:
        heads: the heads that came, each with the number of its connection.
    """

    def __init__(self, *answers: bytes | None, reads: bool = True) -> None:
        self.answers = list(answers)
        self.reads = reads
        self.heads: list[tuple[int, bytes]] = []
        self.url = ""
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        try:
            while self.answers and (head := await self._message(reader)):
                self.heads.append((number, head))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        finally:
            writer.close()

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if self.reads and length:
            await reader.readexactly(int(length))
        return head


@asynccontextmanager
async def answering(system: ByHand) -> AsyncIterator[Destination]:
    server = await asyncio.start_server(system.serve, "127.0.0.1", 0)
    system.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Outbound(loopback=True) as outbound:
        yield towards(outbound, system.url)


async def ask(
    desk: Destination, system: ByHand, method: str = "GET", body: bytes | None = None
) -> tuple[int, bytes]:
    answer = await desk.send(Call(method, f"{system.url}/x", body=body), repeatable=False)
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", None, []), ("POST", None, [b"0"]), ("DELETE", None, [b"0"]), ("PUT", b"abc", [b"3"])],
)
async def test_the_length_of_a_body_is_told_where_one_could_be(
    method: str, body: bytes | None, length: Sequence[bytes]
) -> None:
    system = ByHand(FINE)
    async with answering(system) as desk:
        assert await ask(desk, system, method, body) == (200, b"{}")
    lines = system.heads[0][1].split(b"\r\n")
    assert lines[0] == f"{method} /x HTTP/1.1".encode()
    told = [line.partition(b": ")[2] for line in lines if line.startswith(b"Content-Length")]
    assert told == length
    assert b"Host: " + system.url.removeprefix("http://").encode() in lines


async def test_a_connection_is_used_again() -> None:
    system = ByHand(FINE, b"HTTP/1.1 204 No Content\r\n\r\n", FINE)
    async with answering(system) as desk:
        found = [await ask(desk, system, "POST", b"x") for _ in range(3)]
    assert found == [(200, b"{}"), (204, b""), (200, b"{}")]
    assert [number for number, _ in system.heads] == [1, 1, 1]


async def test_an_interim_answer_is_not_the_answer() -> None:
    system = ByHand(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + FINE, FINE)
    async with answering(system) as desk:
        assert await ask(desk, system) == (200, b"{}")
        assert await ask(desk, system) == (200, b"{}")
    assert [number for number, _ in system.heads] == [1, 1]


async def test_a_head_is_answered_by_no_body_whatever_length_is_told() -> None:
    system = ByHand(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", FINE)
    async with answering(system) as desk:
        assert await ask(desk, system, "HEAD") == (200, b"")
        assert await ask(desk, system) == (200, b"{}")
    assert [number for number, _ in system.heads] == [1, 1]


async def test_an_answer_without_length_ends_with_its_connection() -> None:
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"
    system = ByHand(endless)
    async with answering(system) as desk:
        assert await ask(desk, system) == (200, b"{}")


async def test_an_answer_that_comes_before_all_was_sent_ends_the_connection() -> None:
    """As of a server that refuses a long body by its length."""
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
    system = ByHand(refused, FINE, reads=False)
    async with answering(system) as desk:
        assert await ask(desk, system, "POST", b"x" * 32_000_000) == (413, b"")
        assert await ask(desk, system) == (200, b"{}")
    assert [number for number, _ in system.heads] == [1, 2]


async def test_a_compressed_answer_is_not_unpacked_beyond_its_limit() -> None:
    """A small answer may stand for a large one: only as much of it as is read takes memory."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join([packing.compress(bytes(1_000_000)) for _ in range(60)]) + packing.flush()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    system = ByHand(head % len(packed) + packed, FINE)
    async with answering(system) as desk:
        tracemalloc.start()
        try:
            with pytest.raises(TemporaryError, match="is longer than 65536 bytes"):
                await ask(desk, system)
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()
        assert await ask(desk, system) == (200, b"{}")
    assert [number for number, _ in system.heads] == [1, 2]


@pytest.mark.parametrize("answer", [b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n", None])
async def test_what_is_no_http_is_a_lost_answer(answer: bytes | None) -> None:
    system = ByHand(answer)
    async with answering(system) as desk:
        with pytest.raises(TemporaryError, match="the answer was lost") as caught:
            await ask(desk, system, "POST", b"x")
    assert caught.value.maybe_sent


async def test_a_proxy_gets_its_credential_with_every_call_through_it() -> None:
    system = ByHand(FINE, FINE)
    server = await asyncio.start_server(system.serve, "127.0.0.1", 0)
    proxy = f"http://us:er@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Outbound(loopback=True, proxy=EgressProxy(proxy)) as outbound:
        desk = towards(outbound, "http://desk.example")
        for _ in range(2):
            await desk.send(Call("GET", "http://desk.example/x?a=1"), repeatable=False)
    for number, head in system.heads:
        lines = head.split(b"\r\n")
        assert (number, lines[0]) == (1, b"GET http://desk.example/x?a=1 HTTP/1.1")
        assert {b"Host: desk.example", b"Proxy-Authorization: Basic dXM6ZXI="} <= set(lines)
