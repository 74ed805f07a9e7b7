"""Connections to a Redis-protocol server: redis-py's, with less of its work for each command.

redis-py parses with hiredis but packs commands in Python, which costs a script call with twenty
arguments more than everything else about it (measured: 50 µs instead of 2). It also minds time and
errors anew for each answer, which a batch needs only once.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import hiredis
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

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
        try:
            for _ in range(count):
                take(await self._parser.read_response())
        except OSError as error:
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError(f"Error while reading: {error.args}") from error
        except BaseException:
            # half an answer may have been read: nothing else can be asked on this connection
            await self.disconnect(nowait=True)
            raise

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
        connection_class=type(f"Batching{kind.__name__}", (_Batching, kind), {}),
        socket_timeout=None,
        socket_connect_timeout=CONNECT_WITHIN,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), RETRIES),
        **options,
    )
    return Redis.from_pool(pool)
