"""Connections to Redis-protocol servers: redis-py's, with less of its work for each command.

redis-py parses with hiredis but packs commands in Python, which costs a script call with twenty
arguments more than everything else about it (measured: 50 µs instead of 2). It also minds time and
errors anew for each answer, which a batch needs only once.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis
from redis import exceptions
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import ExponentialBackoff

from proxy.store.client.cluster import Cluster

RETRIES: Final = 3
CONNECT_WITHIN: Final = 5.0
"""Seconds; how long an answer may take is bounded by the batcher, once for a whole batch."""


class _Batching:
    """Packs and reads batches; single commands, as in a handshake, go redis-py's way."""

    _parser: Any
    disconnect: Callable[..., Awaitable[None]]

    async def read_answers(self, take: Callable[[Any], object], count: int) -> None:
        """Hand over as many answers, each as it comes; errors of commands are answers, too.

        Raises:
            ConnectionError: redis-py's own, after which the connection is made anew.
        """
        parser, demoted = self._parser, False
        try:
            while count:
                # one by one, redis-py's own way to ask costs as much as handing the answer over
                answer = parser._reader.gets()  # noqa: SLF001
                if answer is NOT_ENOUGH_DATA:
                    await parser.read_from_socket()
                    continue
                if isinstance(answer, Exception):
                    if isinstance(answer, exceptions.ConnectionError):
                        raise answer  # noqa: TRY301 - the connection is of no use any more
                    demoted |= isinstance(answer, exceptions.ReadOnlyError)
                take(answer)
                count -= 1
        except OSError as error:
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError(f"Error while reading: {error.args}") from error
        except BaseException:
            # half an answer may have been read: nothing else can be asked on this connection
            await self.disconnect(nowait=True)
            raise
        if demoted:  # it was the master: made anew, the connection leads to who is it now
            await self.disconnect()

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Return the commands as they travel (RESP arrays of bulk strings)."""
        return [b"".join(hiredis.pack_command(tuple(words)) for words in commands)]


def connect(url: str, called: str = "") -> Redis:
    """Return a client for one server: `redis://`, `rediss://` or `unix://`.

    It connects when first used, and is then `called` so at the server. A lost connection is tried
    again a few times, with the whole batch: scripts answer a repeat as they answered the first
    time.
    """
    return _server({**parse_url(url), **_named(called)})


def connect_url(url: str, called: str = "") -> Redis | Cluster:
    """Return a client for a server, as `connect`, for one found by Sentinel, or for a cluster.

        redis://, rediss://, unix://                           one server
        redis+sentinel://host:26379,host:26379/master-name/db  who is the master, Sentinel says
        redis+cluster://host:6379,host:6379                    some nodes of a cluster

    `rediss+` for TLS; `sentinel_password` and the like in the query are for the Sentinels.
    """
    parts = urlsplit(url)
    scheme, _, topology = parts.scheme.partition("+")
    if not topology:
        return connect(url, called)
    user, at, places = parts.netloc.rpartition("@")
    hosts = [_address(place) for place in places.split(",")]
    options = {**parse_url(f"{scheme}://{user}{at}host?{parts.query}"), **_named(called)}
    if topology == "cluster":
        return Cluster(hosts, lambda address: _server({**options, **_place(address)}))
    _, name, *database = parts.path.split("/")
    options["db"] = int(database[0]) if database else 0
    return _behind_sentinels(hosts, name, options)


def _server(options: Mapping[str, Any]) -> Redis:
    options = dict(options)
    kind: type[Any] = options.pop("connection_class", Connection)
    return Redis.from_pool(
        ConnectionPool(connection_class=_batching(kind), **_PATIENCE, **_retry(), **options)
    )


def _behind_sentinels(
    hosts: Sequence[tuple[str, int]], name: str, options: Mapping[str, Any]
) -> Redis:
    """Return a client of whoever is the master; a connection that is made anew asks again."""
    options = {key: it for key, it in options.items() if key not in {"host", "port"}}
    tls = options.pop("connection_class", None) is not None
    kind = SentinelManagedSSLConnection if tls else SentinelManagedConnection
    keys = {key: options.pop(key) for key in list(options) if key.startswith("sentinel_")}
    asking = {key.removeprefix("sentinel_"): it for key, it in keys.items()}
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        hosts,
        sentinel_kwargs={
            **asking,
            "socket_timeout": 1.0,
            "socket_connect_timeout": 1.0,
            "ssl": tls,
        },
    )
    pool: Any = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        name, sentinels, connection_class=_batching(kind), **_PATIENCE, **_retry(), **options
    )
    return Redis.from_pool(pool)


def _batching(kind: type[Any]) -> type[Any]:
    return type(f"Batching{kind.__name__}", (_Batching, kind), {})


def _named(called: str) -> dict[str, Any]:
    """Return the options that give connections a name; redis-py's own asks for the right to it."""

    async def greet(connection: Connection) -> None:
        await connection.on_connect()
        await connection.send_command("CLIENT", "SETNAME", called)
        with contextlib.suppress(exceptions.ResponseError):  # it is done without
            await connection.read_response()

    return {"redis_connect_func": greet} if called else {}


def _retry() -> dict[str, Any]:
    return {"retry": Retry(ExponentialBackoff(cap=0.5, base=0.02), RETRIES)}


def _place(address: tuple[str, int]) -> dict[str, Any]:
    return {"host": address[0], "port": address[1]}


def _address(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    return parts.hostname or "", parts.port or _PORT


_PORT: Final = 6379
_PATIENCE: Final[Mapping[str, Any]] = {
    "socket_timeout": None,
    "socket_connect_timeout": CONNECT_WITHIN,
}
