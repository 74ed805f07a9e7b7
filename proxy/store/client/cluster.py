"""A Redis cluster: each command is sent to the node that holds its slot, also after a slot moved.

Every Lua script has all its keys in one slot, so it only needs the right node. Each node has a
batcher of its own, as a single server has.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from typing_extensions import override

from proxy.errors import ProxyError, StoreUnavailableError
from proxy.store.client.pipeline import Batcher, Command, translate

Address = tuple[str, int]
Connect = Callable[[Address], Redis]

MISDIRECTED: Final = (AskError, ClusterDownError, TryAgainError)  # MOVED is a kind of ASK
"""Errors of a node that cannot run a command now; another node can, or the same one later."""

_WITHIN: Final = 5.0  # seconds for one command, a failover included
_PAUSE: Final = 0.1  # seconds between two reads of the slot map
_KEY_AT: Final = {"EVAL": 3, "EVALSHA": 3, "XINFO": 2}  # where a command's first key is not first


class Cluster:
    """The nodes of a cluster, and the master of each slot."""

    def __init__(self, seeds: Iterable[Address], connect: Connect) -> None:
        self._seeds = list(seeds)
        self._connect = connect
        self._clients: dict[Address, Redis] = {}
        self._batchers: dict[Address, Batcher] = {}
        self._masters: list[tuple[int, int, Address]] = []
        self._refreshing = asyncio.Lock()

    def client(self, address: Address) -> Redis:
        """Return the client of one node."""
        if address not in self._clients:
            self._clients[address] = self._connect(address)
        return self._clients[address]

    def pubsub(self) -> PubSub:
        """Return a subscription to some node: a message published at one node reaches all."""
        return self._some().pubsub()

    async def config_get(self, pattern: str) -> Any:
        """Return settings of some node; all nodes should have the same."""
        return await self._some().config_get(pattern)

    def _some(self) -> Redis:
        return self.client(random.choice([*self._addresses()]))

    async def batcher_of(self, slot: int) -> tuple[Address, Batcher]:
        """Return the master of a slot.

        Raises:
            StoreUnavailableError: no node answers, or none has the slot.
        """
        if not self._masters:
            await self.refresh()
        for first, last, address in self._masters:
            if first <= slot <= last:
                return address, self.batcher(address)
        raise StoreUnavailableError(
            f"No node of the Redis cluster serves slot {slot}.", maybe_sent=False
        )

    async def masters(self) -> list[Batcher]:
        """Return the batcher of each node that has slots; raises as `batcher_of` does."""
        if not self._masters:
            await self.refresh()
        return [self.batcher(address) for address in dict.fromkeys(row[2] for row in self._masters)]

    def batcher(self, address: Address) -> Batcher:
        """Return the batcher of one node."""
        if address not in self._batchers:
            self._batchers[address] = Batcher(self.client(address), raw=MISDIRECTED)
        return self._batchers[address]

    async def refresh(self) -> None:
        """Read the slot map from the first node that answers.

        Raises:
            StoreUnavailableError: no node answers.
        """
        before = self._masters
        async with self._refreshing:
            if self._masters is not before:  # another task has just read it
                return
            reason = ""
            for address in self._addresses():
                try:
                    async with asyncio.timeout(1.0):
                        slots = await self.batcher(address).command("CLUSTER", "SLOTS")
                except (ProxyError, RedisError, TimeoutError) as error:
                    reason = str(error) or type(error).__name__
                    continue
                self._masters = [_master(row, address) for row in slots]
                return
        raise StoreUnavailableError(
            f"No node of the Redis cluster answers ({reason}).", maybe_sent=False
        )

    async def settle(self) -> None:
        """Wait for the commands under way."""
        for batcher in list(self._batchers.values()):
            await batcher.close()

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()

    def _addresses(self) -> dict[Address, None]:
        masters = [address for _, _, address in self._masters]
        return dict.fromkeys([*masters, *self._clients, *self._seeds])


class ClusterBatcher(Batcher):
    """Sends each command to the master of its slot, and waits some seconds for a failover."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @override
    async def nodes(self) -> list[Batcher]:
        return await self._cluster.masters()

    @override
    async def close(self) -> None:
        await self._cluster.settle()

    @override
    def enqueue(self, command: Command) -> Awaitable[Any]:
        return asyncio.ensure_future(self._send(command))

    @override
    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        for batcher in await self._cluster.masters():
            async for names in batcher.scan(pattern):
                yield names

    async def _send(self, command: Command) -> Any:
        """Try until the timeout; a script that is sent twice answers as the first time."""
        slot, last = _slot(command), StoreUnavailableError("No time was left.", maybe_sent=False)
        try:
            async with asyncio.timeout(_WITHIN):
                while True:
                    try:
                        return await self._send_once(command, slot)
                    except StoreUnavailableError as error:
                        last = error
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise last from None

    async def _send_once(self, command: Command, slot: int) -> Any:
        try:
            _, batcher = await self._cluster.batcher_of(slot)
            return await batcher.enqueue(command)
        except MISDIRECTED as error:
            if isinstance(error, AskError) and not isinstance(error, MovedError):
                return await self._ask(command, (error.host, error.port))
            await self._cluster.refresh()
            raise translate(error, str(command[0])) from error
        except StoreUnavailableError:
            await self._cluster.refresh()
            raise

    async def _ask(self, command: Command, address: Address) -> Any:
        """Send to the node that a slot is moving to; ASKING applies to the next command only."""
        batcher = self._cluster.batcher(address)
        _, answer = await asyncio.gather(batcher.enqueue(("ASKING",)), batcher.enqueue(command))
        return answer


def _slot(command: Command) -> int:
    """Return the slot of a command's first key; a command without a key may go to any node."""
    at = _KEY_AT.get(command[0], 1)
    return key_slot(str(command[at]).encode()) if len(command) > at else 0


def _master(row: Any, node: Address) -> tuple[int, int, Address]:
    """Return one row of CLUSTER SLOTS: first and last slot, and the master's address."""
    first, last, (host, port, *_) = row[0], row[1], row[2]
    name = host.decode() if isinstance(host, bytes) else host
    return int(first), int(last), (name or node[0], int(port))
