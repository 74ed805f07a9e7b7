"""A pipeline: commands of concurrent tasks are sent to Redis together.

One redis-py call costs far more than the command on the wire, so the commands that tasks issue
during a round trip leave together in the next one. Callers see an ordinary await.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from redis.asyncio import Redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from proxy.errors import ConfigurationError, StoreUnavailableError

_LARGEST = 256  # commands in one round trip, which bounds the latency of the first one
_PAGE = 500  # keys that the server examines for one page of names
_ANSWERED_WITHIN = 5.0  # seconds, reconnecting and repeating included


Arguments = TypeVar("Arguments", bound=tuple[Any, ...])

Command = tuple[Any, ...]
"""The name and the arguments of a command."""

Pending = tuple[Command, asyncio.Future[Any]]
"""A command and the future of its answer."""

Raw = tuple[type[ResponseError], ...]
"""Errors that are raised as redis-py's own, because a caller handles them."""


_PASSING: Final = (
    AskError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
"""Temporary errors that redis-py turns into classes, without their code in the text."""


@dataclass(frozen=True, slots=True)
class Script(Generic[Arguments]):
    """A Lua script that takes these arguments."""

    source: str
    """Its text, with the shared parts in front."""
    digest: str
    """The SHA-1 by which the server finds it."""


class Batcher:
    """Sends the commands of one event loop in few round trips.

    Commands of one task keep their order. After a lost connection, redis-py repeats the commands
    without an answer, so every script must answer a repeat as it answered the first time.
    """

    def __init__(self, client: Redis, raw: Raw = ()) -> None:
        self._client = client
        self._raw: Raw = (NoScriptError, *raw)
        self._waiting: list[Pending] = []
        self._sender: asyncio.Task[None] | None = None

    async def command(self, *command: Any) -> Any:
        """Send one command and return its answer.

        Raises:
            StoreUnavailableError: the server cannot be reached, or cannot take writes now.
            ConfigurationError: the server refused the command.
        """
        return await self.enqueue(command)

    async def commands(self, batch: list[Command]) -> list[Any]:
        """Send several commands together and return their answers in order."""
        return list(await asyncio.gather(*[self.enqueue(command) for command in batch]))

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the names of all keys that match a pattern, page by page; some may come twice."""
        cursor = 0
        while True:
            answer, names = await self.command("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
            yield names
            if not (cursor := int(answer)):
                break

    async def script(
        self,
        script: Script[Arguments],
        keys: list[str],
        args: Arguments,
        values: Sequence[Any] = (),
    ) -> Any:
        """Run a Lua script by its digest; its source is sent only if the server lacks it.

        `values` follow the arguments; their number may vary.
        """
        rest = (len(keys), *keys, *args, *values)
        try:
            return await self.enqueue(("EVALSHA", script.digest, *rest))
        except NoScriptError:
            return await self.enqueue(("EVAL", script.source, *rest))

    async def nodes(self) -> Sequence["Batcher"]:
        """Return one batcher per server with keys."""
        return [self]

    async def close(self) -> None:
        """Wait for the commands under way."""
        if self._sender is not None:
            await self._sender

    def enqueue(self, command: Command) -> Awaitable[Any]:
        """Put a command into the next round trip; errors are those of `command`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return future

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST], self._waiting[_LARGEST:]
            try:
                async with asyncio.timeout(_ANSWERED_WITHIN):
                    await self._round_trip(batch)
            except Exception as error:  # noqa: BLE001 - every future must get an answer
                for command, future in batch:
                    _settle(future, command, error, self._raw)

    async def _round_trip(self, batch: Sequence[Pending]) -> None:
        """Send all commands at once; a lost connection repeats those without an answer."""
        pool: Any = self._client.connection_pool
        connection = await pool.get_connection()
        unanswered = deque(batch)
        try:
            await connection.retry.call_with_retry(
                lambda: _exchange(connection, unanswered, self._raw),
                lambda _error: connection.disconnect(),
            )
        finally:
            await pool.release(connection)


async def _exchange(connection: Any, unanswered: deque[Pending], raw: Raw) -> None:
    """Exchange commands and answers like redis-py's pipeline, without its work per command.

    Each answer is delivered as it comes, so that its task runs while the server does the rest.
    """
    commands = [command for command, _ in unanswered]
    await connection.send_packed_command(connection.pack_commands(commands))

    def take(answer: object) -> None:
        command, future = unanswered.popleft()
        _settle(future, command, answer, raw)

    await connection.read_answers(take, len(commands))


def _settle(future: asyncio.Future[Any], command: Command, answer: object, raw: Raw) -> None:
    """Deliver one answer, if its task still waits; errors in `raw` are not translated."""
    if future.done():
        return
    if not isinstance(answer, Exception):
        future.set_result(answer)
    elif isinstance(answer, raw):
        future.set_exception(answer)
    else:
        future.set_exception(translate(answer, str(command[0])))


def translate(error: Exception, command: str) -> StoreUnavailableError | ConfigurationError:
    """Return our error for one of redis-py; a server that cannot write now is unavailable.

    LOADING, READONLY, MASTERDOWN, OOM, MISCONF and the like are temporary; an unknown command, or
    one that the access list forbids, is a configuration error.
    """
    text = str(error).partition("\n")[0][:200]
    passes = isinstance(error, _PASSING) or text.startswith(("MISCONF", "NOREPLICAS", "BUSY"))
    if isinstance(error, ResponseError) and not passes:
        return ConfigurationError(f"Redis refused {command}: {text}. Check its version and ACL.")
    kind = type(error).__name__
    return StoreUnavailableError(
        f"Redis did not answer {command} ({kind}: {text.rstrip('.')}): check the server and the"
        " network to it.",
        maybe_sent=True,
    )
