"""Connections to Redis-protocol servers: redis-py's, with less work per command.

redis-py parses with hiredis but packs commands in Python, which for a script with twenty arguments
costs more than everything else (measured: 50 µs instead of 2). It also handles timeouts and errors
for each answer, which a batch needs only once.
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
"""Seconds; the batcher bounds the time of answers, once per batch."""


class _Batching:
    """Packs and reads batches; redis-py handles single commands, as in a handshake."""

    _parser: Any
    disconnect: Callable[..., Awaitable[None]]

    async def read_answers(self, take: Callable[[Any], object], count: int) -> None:
        """Deliver `count` answers, each as it comes; errors of commands are answers, too.

        Raises:
            ConnectionError: redis-py's own; the batch is repeated on a new connection.
        """
        parser, demoted = self._parser, False
        try:
            while count:
                # redis-py's own call costs as much per answer as delivering it
                answer = parser._reader.gets()  # noqa: SLF001
                if answer is NOT_ENOUGH_DATA:
                    await parser.read_from_socket()
                    continue
                if isinstance(answer, Exception):
                    if isinstance(answer, exceptions.ConnectionError):
                        raise answer  # noqa: TRY301 - the connection cannot be used any more
                    demoted |= isinstance(answer, exceptions.ReadOnlyError)
                take(answer)
                count -= 1
        except OSError as error:
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError(f"Error while reading: {error.args}") from error
        except BaseException:
            # half an answer may have been read: no other command can use this connection
            await self.disconnect(nowait=True)
            raise
        if demoted:  # it was the master: a new connection leads to the present one
            await self.disconnect()

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Return the commands as bytes (RESP arrays of bulk strings)."""
        return [b"".join(hiredis.pack_command(tuple(command)) for command in commands)]


def connect(url: str, client_name: str = "") -> Redis:
    """Return a client for one server: `redis://`, `rediss://` or `unix://`.

    It connects when first used, under `client_name`. A batch whose connection is lost is repeated a
    few times: scripts answer a repeat as they answered the first time.
    """
    return _server({**parse_url(url), **_named(client_name)})


def connect_url(url: str, client_name: str = "") -> Redis | Cluster:
    """Return a client for one server, for a master that Sentinel names, or for a cluster.

        redis://, rediss://, unix://                           one server, as `connect`
        redis+sentinel://host:26379,host:26379/master-name/db  the Sentinels, which name the master
        redis+cluster://host:6379,host:6379                    some nodes of a cluster

    `rediss+` for TLS; query parameters like `sentinel_password` are for the Sentinels.
    """
    parts = urlsplit(url)
    scheme, _, topology = parts.scheme.partition("+")
    if not topology:
        return connect(url, client_name)
    user, at, hosts = parts.netloc.rpartition("@")
    addresses = [_address(host) for host in hosts.split(",")]
    options = {**parse_url(f"{scheme}://{user}{at}host?{parts.query}"), **_named(client_name)}
    if topology == "cluster":
        return Cluster(addresses, lambda address: _server({**options, **_host(address)}))
    _, name, *database = parts.path.split("/")
    options["db"] = int(database[0]) if database else 0
    return _behind_sentinels(addresses, name, options)


def _server(options: Mapping[str, Any]) -> Redis:
    options = dict(options)
    kind: type[Any] = options.pop("connection_class", Connection)
    return Redis.from_pool(
        ConnectionPool(connection_class=_batching(kind), **_TIMEOUTS, **_retry(), **options)
    )


def _behind_sentinels(
    addresses: Sequence[tuple[str, int]], name: str, options: Mapping[str, Any]
) -> Redis:
    """Return a client of the present master; each new connection asks the Sentinels for it."""
    options = {key: value for key, value in options.items() if key not in {"host", "port"}}
    tls = options.pop("connection_class", None) is not None
    kind = SentinelManagedSSLConnection if tls else SentinelManagedConnection
    keys = {key: options.pop(key) for key in list(options) if key.startswith("sentinel_")}
    own = {key.removeprefix("sentinel_"): value for key, value in keys.items()}
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        addresses,
        sentinel_kwargs={
            **own,
            "socket_timeout": 1.0,
            "socket_connect_timeout": 1.0,
            "ssl": tls,
        },
    )
    pool: Any = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        name, sentinels, connection_class=_batching(kind), **_TIMEOUTS, **_retry(), **options
    )
    return Redis.from_pool(pool)


def _batching(kind: type[Any]) -> type[Any]:
    return type(f"Batching{kind.__name__}", (_Batching, kind), {})


def _named(client_name: str) -> dict[str, Any]:
    """Return the options that name connections; redis-py's own option fails without permission."""

    async def greet(connection: Connection) -> None:
        await connection.on_connect()
        await connection.send_command("CLIENT", "SETNAME", client_name)
        with contextlib.suppress(exceptions.ResponseError):  # without permission, it stays unnamed
            await connection.read_response()

    return {"redis_connect_func": greet} if client_name else {}


def _retry() -> dict[str, Any]:
    return {"retry": Retry(ExponentialBackoff(cap=0.5, base=0.02), RETRIES)}


def _host(address: tuple[str, int]) -> dict[str, Any]:
    return {"host": address[0], "port": address[1]}


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port or _PORT


_PORT: Final = 6379
_TIMEOUTS: Final[Mapping[str, Any]] = {
    "socket_timeout": None,
    "socket_connect_timeout": CONNECT_WITHIN,
}
