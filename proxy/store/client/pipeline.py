"""Commands of concurrent tasks, sent to Redis together.

One redis-py call costs far more than the command on the wire, so commands that tasks issue while a
round trip is under way leave together in the next one. Callers see an ordinary await.
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

_LARGEST = 256  # commands in one round trip: bounds the latency of the first of them
_PAGE = 500  # keys that the server looks at for one page of names
_ANSWERED_WITHIN = 5.0  # seconds, connecting again and repeating included


Arguments = TypeVar("Arguments", bound=tuple[Any, ...])

Words = tuple[Any, ...]
"""A command: its name and its arguments."""

Asked = tuple[Words, asyncio.Future[Any]]
"""A command and who waits for its answer."""

Raw = tuple[type[ResponseError], ...]
"""Refusals that somebody else knows what to do about."""


_PASSING: Final = (
    AskError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
"""redis-py makes classes of these, and takes their first word out of the text."""


@dataclass(frozen=True, slots=True)
class Script(Generic[Arguments]):
    """A Lua script that takes these arguments."""

    source: str
    """Its text, with the shared parts in front."""
    digest: str
    """The SHA-1 by which the server finds it."""


class Batcher:
    """Sends what is asked for in one event loop as few round trips.

    Commands of one task keep their order. After a lost connection, redis-py repeats what has no
    answer, so every script must answer a repeat as it answered the first time.
    """

    def __init__(self, client: Redis, raw: Raw = ()) -> None:
        self._client = client
        self._raw: Raw = (NoScriptError, *raw)
        self._waiting: list[Asked] = []
        self._sender: asyncio.Task[None] | None = None

    async def command(self, *words: Any) -> Any:
        """Send one command and return its answer.

        Raises:
            StoreUnavailable: the server cannot be reached, or cannot take writes now.
            ConfigurationError: the server refused the command.
        """
        return await self.enqueue(words)

    async def commands(self, batch: list[Words]) -> list[Any]:
        """Send several commands together and return their answers in order."""
        return list(await asyncio.gather(*[self.enqueue(words) for words in batch]))

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the names of all keys like a pattern, page by page; some perhaps twice."""
        cursor = 0
        while True:
            words = ("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
            answer, names = await self.command(*words)
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
        """Return one batcher for each server that keys are on."""
        return [self]

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._sender is not None:
            await self._sender

    def enqueue(self, words: Words) -> Awaitable[Any]:
        """Put a command into the next round trip; errors are those of `command`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((words, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return future

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST], self._waiting[_LARGEST:]
            try:
                async with asyncio.timeout(_ANSWERED_WITHIN):
                    await self._round_trip(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is: nobody may wait for ever
                for words, future in batch:
                    _settle(future, words, error, self._raw)

    async def _round_trip(self, batch: Sequence[Asked]) -> None:
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


async def _exchange(connection: Any, unanswered: deque[Asked], raw: Raw) -> None:
    """Do what redis-py's pipeline does, without its work per command: answers are raw.

    Each answer is handed over as it comes, so that its task works while the server does the rest.
    """
    commands = [words for words, _ in unanswered]
    await connection.send_packed_command(connection.pack_commands(commands))

    def take(answer: object) -> None:
        words, future = unanswered.popleft()
        _settle(future, words, answer, raw)

    await connection.read_answers(take, len(commands))


def _settle(future: asyncio.Future[Any], words: Words, answer: object, raw: Raw) -> None:
    """Hand over one answer; the task that asked may be gone. Errors in `raw` stay as they are."""
    if future.done():
        return
    if not isinstance(answer, Exception):
        future.set_result(answer)
    elif isinstance(answer, raw):
        future.set_exception(answer)
    else:
        future.set_exception(translate(answer, str(words[0])))


def translate(error: Exception, command: str) -> StoreUnavailableError | ConfigurationError:
    """Return our error for one of redis-py; a server that cannot write now is unavailable.

    LOADING, READONLY, MASTERDOWN, OOM, MISCONF and the like pass; a command that the server does
    not know or refuses by its access list does not.
    """
    text = str(error).partition("\n")[0][:200]
    passes = isinstance(error, _PASSING) or text.startswith(("MISCONF", "NOREPLICAS", "BUSY"))
    if isinstance(error, ResponseError) and not passes:
        return ConfigurationError(f"Redis refused {command}: {text}. Check its version and ACL.")
    kind = type(error).__name__
    return StoreUnavailableError(
        f"Redis did not answer {command} ({kind}: {text.rstrip('.')}): look at the server and the"
        " network to it.",
        maybe_sent=True,
    )
