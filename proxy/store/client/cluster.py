"""A Redis cluster: each command goes to the node that holds its slot, found again when it moves.

Every step of ours has all its keys in one slot, so that a cluster needs nothing but the way to the
right node. Each node has a batcher of its own, as a single server has.
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
from proxy.store.client.pipeline import Batcher, Words, translate

Address = tuple[str, int]
Connect = Callable[[Address], Redis]

MISDIRECTED: Final = (AskError, ClusterDownError, TryAgainError)  # MOVED is a kind of ASK
"""What a node answers that cannot do a command now, but another one can, or it can later."""

_WITHIN: Final = 5.0  # seconds for one command, a failover on the way included
_PAUSE: Final = 0.1  # seconds before the map of slots is asked for again
_KEY_AT: Final = {"EVAL": 3, "EVALSHA": 3, "XINFO": 2}  # where a command's first key is not first


class Cluster:
    """The nodes of one cluster, and which of them is the master of each slot."""

    def __init__(self, seeds: Iterable[Address], connect: Connect) -> None:
        self._seeds = list(seeds)
        self._connect = connect
        self._clients: dict[Address, Redis] = {}
        self._batchers: dict[Address, Batcher] = {}
        self._masters: list[tuple[int, int, Address]] = []
        self._asking = asyncio.Lock()

    def client(self, address: Address) -> Redis:
        """Return the client of one node."""
        if address not in self._clients:
            self._clients[address] = self._connect(address)
        return self._clients[address]

    def pubsub(self) -> PubSub:
        """Listen at some node: what is published at any of them reaches them all."""
        return self._some().pubsub()

    async def config_get(self, pattern: str) -> Any:
        """Return settings of some node; all should have the same."""
        return await self._some().config_get(pattern)

    def _some(self) -> Redis:
        return self.client(random.choice([*self._known()]))

    async def batcher_of(self, slot: int) -> tuple[Address, Batcher]:
        """Return the master of a slot.

        Raises:
            StoreUnavailable: no node answers, or none has the slot.
        """
        if not self._masters:
            await self.look()
        for first, last, address in self._masters:
            if first <= slot <= last:
                return address, self.batcher(address)
        raise StoreUnavailableError(
            f"No node of the Redis cluster serves slot {slot}.", maybe_sent=False
        )

    async def masters(self) -> list[Batcher]:
        """Return the batcher of each node that has slots; raises as `batcher_of` does."""
        if not self._masters:
            await self.look()
        return [self.batcher(address) for address in {it: None for *_, it in self._masters}]

    def batcher(self, address: Address) -> Batcher:
        """Return the batcher of one node."""
        if address not in self._batchers:
            self._batchers[address] = Batcher(self.client(address), raw=MISDIRECTED)
        return self._batchers[address]

    async def look(self) -> None:
        """Ask for the map of slots, one node after the other until one answers.

        Raises:
            StoreUnavailable: none does.
        """
        before = self._masters
        async with self._asking:
            if self._masters is not before:  # somebody else has just looked
                return
            why = ""
            for address in self._known():
                try:
                    async with asyncio.timeout(1.0):
                        slots = await self.batcher(address).command("CLUSTER", "SLOTS")
                except (ProxyError, RedisError, TimeoutError) as error:
                    why = str(error) or type(error).__name__
                    continue
                self._masters = [_master(row, address) for row in slots]
                return
        raise StoreUnavailableError(
            f"No node of the Redis cluster answers ({why}).", maybe_sent=False
        )

    async def settle(self) -> None:
        """Wait for what is under way."""
        for batcher in list(self._batchers.values()):
            await batcher.close()

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()

    def _known(self) -> dict[Address, None]:
        masters = [address for _, _, address in self._masters]
        return dict.fromkeys([*masters, *self._clients, *self._seeds])


class ClusterBatcher(Batcher):
    """Sends each command to the master of its slot; a failover is waited for some seconds."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @override
    async def nodes(self) -> list[Batcher]:
        return await self._cluster.masters()

    @override
    async def close(self) -> None:
        await self._cluster.settle()

    @override
    def enqueue(self, words: Words) -> Awaitable[Any]:
        return asyncio.ensure_future(self._routed(words))

    @override
    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        for batcher in await self._cluster.masters():
            async for names in batcher.scan(pattern):
                yield names

    async def _routed(self, words: Words) -> Any:
        """Try until the time is over; what is sent twice is answered as it was the first time."""
        slot, last = _slot(words), StoreUnavailableError("No time was left.", maybe_sent=False)
        try:
            async with asyncio.timeout(_WITHIN):
                while True:
                    try:
                        return await self._once(words, slot)
                    except StoreUnavailableError as error:
                        last = error
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise last from None

    async def _once(self, words: Words, slot: int) -> Any:
        try:
            _, batcher = await self._cluster.batcher_of(slot)
            return await batcher.enqueue(words)
        except MISDIRECTED as error:
            if isinstance(error, AskError) and not isinstance(error, MovedError):
                return await self._ask(words, (error.host, error.port))
            await self._cluster.look()
            raise translate(error, str(words[0])) from error
        except StoreUnavailableError:
            await self._cluster.look()
            raise

    async def _ask(self, words: Words, address: Address) -> Any:
        """Ask the node that a slot is moving to; ASKING holds for the next command only."""
        batcher = self._cluster.batcher(address)
        _, answer = await asyncio.gather(batcher.enqueue(("ASKING",)), batcher.enqueue(words))
        return answer


def _slot(words: Words) -> int:
    """Return the slot of a command's first key; what has none goes anywhere."""
    at = _KEY_AT.get(words[0], 1)
    return key_slot(str(words[at]).encode()) if len(words) > at else 0


def _master(row: Any, asked: Address) -> tuple[int, int, Address]:
    """Return one row of CLUSTER SLOTS: first and last slot, and the master's address."""
    first, last, (host, port, *_) = row[0], row[1], row[2]
    name = host.decode() if isinstance(host, bytes) else host
    return int(first), int(last), (name or asked[0], int(port))
