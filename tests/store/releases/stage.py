"""The world that every dump was made in, so that it can be gone on with there."""

import fcntl
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from proxy.simulators.desk.server import Desk
from tests.support.manual_clock import ManualClock
from tests.support.rig import Rig, open_rig

NAMESPACE: Final = "release"
PORTS: Final[Mapping[str, int]] = {"desk": 28_098, "witboost": 28_099}
"""Fixed, because the store holds URLs; below those that systems give away."""
_LOCK: Final = Path(tempfile.gettempdir()) / "approval-proxy-releases.lock"
ROUTES: Final[list[dict[str, Any]]] = [
    {"name": "hr", "when": "domain == 'hr'", "system": "desk", "callback_on": "fulfilment"},
    {"name": "default", "system": "desk"},
]


@dataclass(frozen=True)
class Dump:
    """The store's keys by name, each as its type and content, and the desk's tickets."""

    keys: Mapping[str, tuple[str, Any]]
    tickets: list[dict[str, Any]]

    @classmethod
    def read(cls, file: Path) -> "Dump":
        """Return what a file holds."""
        return cls(**orjson.loads(file.read_bytes()))

    def write(self, file: Path) -> None:
        """Write the file, in an order that makes differences readable."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        file.write_bytes(orjson.dumps({"keys": self.keys, "tickets": self.tickets}, option=options))

    def records(self) -> Mapping[str, dict[str, str]]:
        """Return the fields of every record, by correlation id."""
        return {
            name.rpartition(":r:")[2]: content
            for name, (_, content) in self.keys.items()
            if ":r:" in name
        }


async def dumped(client: Any) -> Mapping[str, tuple[str, Any]]:
    """Return every key that does not pass by itself."""
    found: dict[str, tuple[str, Any]] = {}
    async for key in client.scan_iter(match=f"*{NAMESPACE}*"):
        if await client.pttl(key) == -1:
            kind = (await client.type(key)).decode()
            found[key.decode()] = (kind, _text(await _READ[kind](client, key)))
    return found


async def load(client: Any, keys: Mapping[str, tuple[str, Any]]) -> None:
    """Write a dump into an empty store."""
    for name, (kind, content) in keys.items():
        match kind:
            case "string":
                await client.set(name, content)
            case "hash":
                await client.hset(name, mapping=content)
            case "list":
                await client.rpush(name, *content)
            case "zset":
                await client.zadd(name, dict(content))
            case "stream":
                for number, fields in content:
                    await client.xadd(name, fields, id=number)
            case _:
                raise ValueError(kind)


def reopen(desk: Desk, tickets: Iterable[Mapping[str, Any]]) -> None:
    """Give the desk the tickets that it had."""
    for shown in tickets:
        ticket = desk.tickets.add(shown, pages=f"{desk.url}/desk/tickets", now=desk.clock.now())
        ticket.fields = ticket.previous_fields = dict(shown)
        named = {"ticket": ticket.id, "correlation_id": ticket.correlation_id}
        desk.journal.record("created", key=shown["key"], **named)


@asynccontextmanager
async def stage(folder: Path, redis_url: str, clock: ManualClock) -> AsyncIterator[Rig]:
    """Run the program in the world of the dumps, one at a time on this machine."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with open_rig(
            folder,
            redis_url,
            clock,
            desk={"port": PORTS["desk"]},
            witboost={"port": PORTS["witboost"], "adopt_unknown_hooks": True},
            store={"namespace": NAMESPACE},
            routes=ROUTES,
        ) as rig:
            yield rig


def client_of(url: str) -> Redis:
    """Return a client for a server."""
    return Redis.from_url(url, protocol=2)


def _text(content: Any) -> Any:
    match content:
        case bytes():
            return content.decode()
        case dict():
            return {_text(key): _text(value) for key, value in content.items()}
        case list() | tuple():
            return [_text(each) for each in content]
        case _:
            return content


_READ: Final[Mapping[str, Any]] = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    "stream": lambda client, key: client.xrange(key),
}
