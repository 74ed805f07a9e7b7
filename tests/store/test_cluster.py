"""The way to the right node: maps of slots that are old, slots on the move, nodes that are gone.

A failover under traffic on a real cluster is in `tests/faults/test_failover.py`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from proxy.errors import ConfigurationError, StoreUnavailableError
from proxy.store.client.cluster import Cluster, ClusterBatcher
from proxy.store.client.connections import connect, connect_url
from proxy.store.client.pipeline import Batcher

Reply = Callable[[list[bytes]], bytes]


class FakeNode:
    """A server that answers as the test says, and keeps what it was asked."""

    def __init__(self, port: int, reply: Reply) -> None:
        self.port = port
        self.reply = reply
        self.asked: list[bytes] = []
        self.links: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links.add(writer)
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            if words[0] in {b"HELLO", b"CLIENT"}:
                writer.write(b"+OK\r\n")
                continue
            self.asked.append(b" ".join(words))
            writer.write(self.reply(words))
        writer.close()


@asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[FakeNode]]:
    async with AsyncExitStack() as stack:
        found = [FakeNode(0, lambda _: b"+OK\r\n") for _ in range(count)]
        for node in found:
            server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
            stack.push_async_callback(_close, server, node)
            node.port = server.sockets[0].getsockname()[1]
        yield found


async def _close(server: asyncio.Server, node: FakeNode) -> None:
    server.close()
    for link in node.links:
        link.close()
        with contextlib.suppress(OSError):
            await link.wait_closed()
    await server.wait_closed()


@asynccontextmanager
async def reached(*seeds: FakeNode) -> AsyncIterator[ClusterBatcher]:
    options = "?protocol=2&lib_name=&lib_version="
    places = [("127.0.0.1", node.port) for node in seeds]
    cluster = Cluster(places, lambda it: connect(f"redis://{it[0]}:{it[1]}{options}"))
    yield ClusterBatcher(cluster)
    await cluster.settle()
    await cluster.aclose()


def slots(port: int) -> bytes:
    return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % port


def answering(node: FakeNode, master: Callable[[], int], value: Reply) -> None:
    """Let a node know who the master of all slots is, and answer the rest as told."""
    node.reply = lambda words: slots(master()) if words[0] == b"CLUSTER" else value(words)


async def test_a_slot_that_has_moved_is_asked_for_at_its_new_place() -> None:
    async with nodes(2) as (old, new), reached(old) as batcher:
        known = [old.port]
        moved = b"-MOVED 12182 127.0.0.1:%d\r\n" % new.port

        def hand_over(_: list[bytes]) -> bytes:
            known[0] = new.port
            return moved

        answering(old, lambda: known[0], hand_over)
        answering(new, lambda: new.port, lambda _: b"$3\r\nbar\r\n")
        assert await batcher.command("GET", "foo") == b"bar"
        assert await batcher.command("GET", "foo") == b"bar"
        assert [it for it in old.asked if it.startswith(b"GET")] == [b"GET foo"]


async def test_a_slot_on_the_move_is_asked_for_once_at_the_other_node() -> None:
    async with nodes(2) as (old, new), reached(old) as batcher:
        answering(old, lambda: old.port, lambda _: b"-ASK 12182 127.0.0.1:%d\r\n" % new.port)
        new.reply = lambda words: b"+OK\r\n" if words[0] == b"ASKING" else b"$3\r\nbar\r\n"
        assert await batcher.command("GET", "foo") == b"bar"
        assert new.asked == [b"ASKING", b"GET foo"]


async def test_a_seed_that_is_gone_is_passed_over() -> None:
    async with nodes(2) as (gone, there):
        answering(there, lambda: there.port, lambda _: b"$3\r\nbar\r\n")
        port, gone.port = gone.port, 1
        async with reached(gone, there) as batcher:
            assert await batcher.command("GET", "foo") == b"bar"
        gone.port = port


async def test_a_command_that_is_refused_is_not_tried_again() -> None:
    async with nodes(1) as (node,), reached(node) as batcher:
        answering(node, lambda: node.port, lambda _: b"-NOPERM no permission\r\n")
        with pytest.raises(ConfigurationError, match="no permission"):
            await batcher.command("GET", "foo")
        assert len([it for it in node.asked if it.startswith(b"GET")]) == 1


async def test_a_cluster_that_is_down_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.store.client.cluster._WITHIN", 0.3)
    async with nodes(1) as (node,), reached(node) as batcher:
        answering(node, lambda: node.port, lambda _: b"-CLUSTERDOWN The cluster is down\r\n")
        with pytest.raises(StoreUnavailableError, match="The cluster is down"):
            await batcher.command("GET", "foo")
        assert len([it for it in node.asked if it.startswith(b"GET")]) > 1


@pytest.mark.parametrize(
    "said",
    [
        b"-READONLY You can't write against a read only replica.",
        b"-OOM command not allowed when used memory > 'maxmemory'.",
        b"-MASTERDOWN Link with MASTER is down",
        b"-LOADING Redis is loading the dataset in memory",
        b"-MISCONF Errors writing to the AOF file",
        b"-NOREPLICAS Not enough good replicas to write.",
    ],
)
async def test_what_passes_by_itself_is_no_wrong_setting(said: bytes) -> None:
    async with nodes(1) as (node,):
        node.reply = lambda _: said + b"\r\n"
        client = connect(f"redis://127.0.0.1:{node.port}?protocol=2&lib_name=&lib_version=")
        batcher = Batcher(client)
        with pytest.raises(StoreUnavailableError):
            await batcher.command("GET", "foo")
        await batcher.close()
        await client.aclose()


async def test_who_is_master_no_more_is_left() -> None:
    """The connection is made anew: Sentinel, or a name, may lead to somebody else now."""
    async with nodes(1) as (node,):
        node.reply = lambda _: b"-READONLY You can't write against a read only replica.\r\n"
        client = connect(f"redis://127.0.0.1:{node.port}?protocol=2&lib_name=&lib_version=")
        batcher = Batcher(client)
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await batcher.command("SET", "foo", "bar")
        assert len(node.links) == 2
        await batcher.close()
        await client.aclose()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://redis:6379/1", "Redis"),
        ("unix:///run/redis.sock", "Redis"),
        ("redis+sentinel://user:p%40ss@one:26379,two:26379/approvals/2", "Redis"),
        ("redis+cluster://one:7000,two:7000,three", "Cluster"),
    ],
)
async def test_a_url_says_what_is_reached(url: str, kind: str) -> None:
    client = connect_url(url)
    assert type(client).__name__ == kind
    if "sentinel" in url:
        options = client.connection_pool.connection_kwargs  # type: ignore[union-attr]
        assert (options["db"], options["username"], options["password"]) == (2, "user", "p@ss")
    await client.aclose()
