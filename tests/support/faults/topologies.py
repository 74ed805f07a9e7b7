"""Redis as large sites run it: Sentinel with a replica, and a cluster of three masters.

The servers are those of the program's own binary, on free ports of this machine.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.store.embedded.server import find_program
from tests.support.faults.soak import free_ports
from tests.support.waiting import wait_until

DOWN_AFTER: Final = 1_000
"""Milliseconds of silence after which a server counts as gone."""
MASTER: Final = "approvals"
SLOTS: Final = 16_384
READY_WITHIN: Final = 30.0


@dataclass
class Node:
    """One server process."""

    port: int
    process: asyncio.subprocess.Process
    client: Any

    def kill(self) -> None:
        """End it by SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)

    async def answers(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(RedisError, OSError):
            return bool(await self.client.ping())
        return False

    async def info(self, section: str) -> dict[str, Any]:
        """Return what it says of itself."""
        found: dict[str, Any] = await self.client.info(section)
        return found


@dataclass
class Topology:
    """Servers that stand in for one another; `url` is what the program is given."""

    url: str
    nodes: Sequence[Node]
    masters: Callable[[], Awaitable[list[Node]]]


@asynccontextmanager
async def sentinel(folder: Path) -> AsyncIterator[Topology]:
    """Run a master, a replica and three Sentinels."""
    async with AsyncExitStack() as stack:
        ports = free_ports(5)
        nodes = [await _node(stack, folder, port) for port in ports[:2]]
        await nodes[1].client.execute_command("REPLICAOF", "127.0.0.1", str(ports[0]))
        await wait_until(partial(_follows, nodes[1]), within=READY_WITHIN, what="the replica")
        sentinels = [await _sentinel(stack, folder, port, ports[0]) for port in ports[2:]]
        for each in sentinels:
            await wait_until(partial(_sees_all, each), within=READY_WITHIN)
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports[2:])

        async def masters() -> list[Node]:
            return [node for node in nodes if await _is_master(node)]

        yield Topology(f"redis+sentinel://{hosts}/{MASTER}/0", nodes, masters)


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Topology]:
    """Run three masters with a replica each."""
    async with AsyncExitStack() as stack:
        words = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN_AFTER))
        free = free_ports(12)
        ports, buses = free[:6], free[6:]
        nodes = [
            await _node(stack, folder, port, *words, "--cluster-port", str(bus))
            for port, bus in zip(ports, buses, strict=True)
        ]
        share = -(-SLOTS // 3)
        for number, node in enumerate(nodes[:3]):
            last = min((number + 1) * share, SLOTS) - 1
            command = ("CLUSTER", "ADDSLOTSRANGE", str(number * share), str(last))
            await node.client.execute_command(*command)
        for number, node in enumerate(nodes):
            await node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in nodes[1:]:
            await node.client.execute_command("CLUSTER MEET", "127.0.0.1", ports[0], buses[0])
        for node in nodes:
            await wait_until(partial(_knows, node, 6), within=READY_WITHIN)
        for number, node in enumerate(nodes[3:]):
            name = await nodes[number].client.execute_command("CLUSTER", "MYID")
            await node.client.execute_command("CLUSTER", "REPLICATE", name)
        for node in nodes[3:]:
            await wait_until(partial(_follows, node), within=READY_WITHIN)
        for node in nodes:
            await wait_until(partial(_serves, node), within=READY_WITHIN)

        async def masters() -> list[Node]:
            return [node for node in nodes if await _is_master(node)]

        hosts = ",".join(f"127.0.0.1:{port}" for port in ports[:3])
        yield Topology(f"redis+cluster://{hosts}", nodes, masters)


async def _node(stack: AsyncExitStack, folder: Path, port: int, *words: str) -> Node:
    place = folder / str(port)
    place.mkdir()
    settings = ["--port", str(port), "--dir", str(place), "--appendonly", "yes", "--save", ""]
    return await _started(stack, place, port, *settings, *words)


async def _sentinel(stack: AsyncExitStack, folder: Path, port: int, master: int) -> Node:
    place = folder / str(port)
    place.mkdir()
    (place / "sentinel.conf").write_text(
        f"port {port}\ndir {place}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master} 2\n"
        f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}\n"
        f"sentinel failover-timeout {MASTER} 5000\n"
    )
    return await _started(stack, place, port, str(place / "sentinel.conf"), "--sentinel")


async def _started(stack: AsyncExitStack, place: Path, port: int, *words: str) -> Node:
    with (place / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            find_program(), *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    client = Redis(port=port, socket_timeout=1.0, socket_connect_timeout=1.0)
    node = Node(port, process, client)
    stack.push_async_callback(process.wait)
    stack.callback(node.kill)
    stack.push_async_callback(client.aclose)
    await wait_until(node.answers, within=READY_WITHIN, what=f"the server on port {port}")
    return node


async def _follows(node: Node) -> bool:
    info = await node.info("replication")
    return (info["role"], info["master_link_status"]) == ("slave", "up")


async def _is_master(node: Node) -> bool:
    with contextlib.suppress(RedisError, OSError):
        return bool((await node.info("replication"))["role"] == "master")
    return False


async def _sees_all(sentinel: Node) -> bool:
    rows = await sentinel.client.execute_command("SENTINEL", "MASTER", MASTER)
    named = {key.decode(): value for key, value in _pairs(rows)}
    return (int(named["num-slaves"]), int(named["num-other-sentinels"])) == (1, 2)


def _pairs(rows: Any) -> list[tuple[bytes, Any]]:
    if isinstance(rows, dict):
        return [(_bytes(key), value) for key, value in rows.items()]
    return list(zip(rows[::2], rows[1::2], strict=True))


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


async def _knows(node: Node, count: int) -> bool:
    info = await _cluster_info(node)
    return int(info["cluster_known_nodes"]) == count


async def _serves(node: Node) -> bool:
    info = await _cluster_info(node)
    return info["cluster_state"] == "ok" and int(info["cluster_size"]) == 3


async def _cluster_info(node: Node) -> dict[str, str]:
    answer = await node.client.execute_command("CLUSTER", "INFO")
    if isinstance(answer, dict):
        return {str(key): str(value) for key, value in answer.items()}
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.split() if ":" in line)
