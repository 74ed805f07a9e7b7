"""Every I/O step of the program, found where all of them pass: a round trip to Redis, an HTTP call.

A step has three moments: before it; once the request is delivered, while the answer is unknown;
and after it, with the answer in hand. What a test does there is up to the test.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, get_args
from unittest.mock import patch

from aiohttp import ClientResponse, ClientSession, hdrs
from redis.asyncio.connection import AbstractConnection
from yarl import URL

from proxy.store.batching import Asked, Batcher, Words
from proxy.store.redis import load_script

Moment = Literal["before", "sent", "after"]
MOMENTS: Final[tuple[Moment, ...]] = get_args(Moment)

Act = Callable[[int, str, Moment], Awaitable[None]]
"""Is told the step's number (from 1), its label and the moment."""

_SCRIPTS: Final = {
    load_script(name).digest: name
    for name in ("admit", "claim", "commit", "hint", "expire", "pause")
}
_WATCH: Final = "ZCARD"
"""Only the web side's look at the store counts members; it comes by the clock on the wall."""

_under_way: ContextVar[tuple[int, str] | None] = ContextVar("_under_way", default=None)


class _Steps:
    """Counts steps and announces their moments."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._count = 0

    async def step(self, label: str, do: Callable[[], Awaitable[Any]]) -> Any:
        """Take one step; one that fails has an answer too."""
        self._count += 1
        number = self._count
        await self._act(number, label, "before")
        token = _under_way.set((number, label))
        try:
            answer = await do()
        except Exception:
            await self._act(number, label, "after")
            raise
        finally:
            _under_way.reset(token)
        await self._act(number, label, "after")
        return answer

    async def sent(self) -> None:
        """Announce that the step under way is sent, once."""
        found = _under_way.get()
        if found is not None:
            _under_way.set(None)
            await self._act(*found, "sent")


@contextmanager
def watched(act: Act) -> Iterator[None]:
    """Call `act` at every moment of every step that the program takes inside the block."""
    round_trip, send = Batcher._round_trip, AbstractConnection.send_packed_command
    request, start = ClientSession._request, ClientResponse.start
    steps = _Steps(act)

    async def exchanging(batcher: Batcher, batch: Sequence[Asked]) -> None:
        label = _commands([words for words, _ in batch])
        if _WATCH in label:
            await round_trip(batcher, batch)
        else:
            await steps.step(label, lambda: round_trip(batcher, batch))

    async def sending(connection: Any, *args: Any, **named: Any) -> None:
        await send(connection, *args, **named)
        await steps.sent()

    async def requesting(session: Any, method: str, url: URL, **named: Any) -> Any:
        if hdrs.USER_AGENT not in session.headers:  # a simulator's own session
            return await request(session, method, url, **named)
        label = f"{method} {_shape(url)}"
        return await steps.step(label, lambda: request(session, method, url, **named))

    async def starting(response: ClientResponse, connection: Any) -> ClientResponse:
        if _under_way.get() is not None:
            for _ in range(3):  # the body leaves in a task of its own
                await asyncio.sleep(0)
            await steps.sent()
        return await start(response, connection)

    with (
        patch.object(Batcher, "_round_trip", exchanging),
        patch.object(AbstractConnection, "send_packed_command", sending),
        patch.object(ClientSession, "_request", requesting),
        patch.object(ClientResponse, "start", starting),
    ):
        yield


def _commands(batch: Sequence[Words]) -> str:
    """Return the names of the commands sent together, those of scripts instead of EVALSHA."""
    names: list[str] = []
    for words in batch:
        name = str(_SCRIPTS.get(words[1]) if words[0] == "EVALSHA" else words[0])
        if not names or names[-1] != name:
            names.append(name)
    return "+".join(names)


def _shape(url: URL) -> str:
    """Return the path without ids, so that the same step has the same label in every run."""
    return "/".join("*" if any(map(str.isdigit, part)) else part for part in url.path.split("/"))
