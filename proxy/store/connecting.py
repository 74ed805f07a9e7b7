"""Connections to a Redis-protocol server: redis-py's, with commands packed by hiredis.

redis-py parses with hiredis but packs commands in Python, which costs a script call with twenty
arguments more than everything else about it (measured: 50 µs instead of 2).
"""

from collections.abc import Iterable
from typing import Any, Final

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

RETRIES: Final = 3
CONNECT_WITHIN: Final = 5.0
"""Seconds; how long an answer may take is bounded by the batcher, once for a whole batch."""


class _Packing:
    """Packs the commands of a batch; single commands, as in a handshake, go redis-py's way."""

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Return the commands as they travel (RESP arrays of bulk strings)."""
        return [b"".join(hiredis.pack_command(tuple(words)) for words in commands)]


def connect(url: str) -> Redis:
    """Return a client for `redis://`, `rediss://` or `unix://`; it connects when first used.

    A lost connection is tried again a few times, with the whole batch: scripts answer a repeat as
    they answered the first time.
    """
    options: dict[str, Any] = dict(parse_url(url))
    kind: type[Any] = options.pop("connection_class", Connection)
    pool = ConnectionPool(
        connection_class=type(f"Packing{kind.__name__}", (_Packing, kind), {}),
        socket_timeout=None,
        socket_connect_timeout=CONNECT_WITHIN,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), RETRIES),
        **options,
    )
    return Redis.from_pool(pool)
