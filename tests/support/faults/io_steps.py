"""Every I/O step of the program, found where all of them pass: a round trip to Redis, an HTTP call.

A step has four moments: before it; the last instant before its bytes leave; once the request is
delivered, while the answer is unknown; and after it, with the answer in hand. What a test does
there is up to the test.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args
from unittest.mock import patch

from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from redis.asyncio.connection import AbstractConnection
from typing_extensions import override
from yarl import URL

from proxy.outbound import http1
from proxy.store.client import scripts
from proxy.store.client.pipeline import Batcher, Command, Pending, Script

Moment = Literal["before", "sending", "sent", "after"]
MOMENTS: Final[tuple[Moment, ...]] = ("before", "sent", "after")
"""Those at which a death makes a difference; `sending` is where one that was frozen goes on."""

Manner = Literal["kill", "stop", "freeze"]
MANNERS: Final[tuple[Manner, ...]] = get_args(Manner)
"""SIGKILL; a stop with no time to finish, which cancels; SIGSTOP until all else is done."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Where and how the program meets its end: a step, by its number or label, and a moment."""

    step: int | str
    moment: Moment
    manner: Manner = "kill"

    @override
    def __str__(self) -> str:
        return f"{self.manner} {self.moment} step {self.step}"


Act = Callable[[int, str, Moment], Awaitable[None]]
"""Is told the step's number (from 1), its label and the moment."""

SCRIPTS: Final = {
    script.digest: name.lower()
    for name, script in vars(scripts).items()
    if isinstance(script, Script)
}
"""The names of the Lua steps by their digests."""

_WATCH: Final = "ZCARD"
"""Only the web side's look at the store counts members; it comes by the clock on the wall."""


@dataclass(slots=True)
class _Step:
    number: int
    label: str
    told: set[Moment] = field(default_factory=set)


_under_way: ContextVar[_Step | None] = ContextVar("_under_way", default=None)


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
        token = _under_way.set(_Step(number, label))
        try:
            answer = await do()
        except Exception:
            await self._act(number, label, "after")
            raise
        finally:
            _under_way.reset(token)
        await self._act(number, label, "after")
        return answer

    async def tell(self, moment: Moment) -> None:
        """Announce a moment of the step under way, once."""
        step = _under_way.get()
        if step is not None and moment not in step.told:
            step.told.add(moment)
            await self._act(step.number, step.label, moment)


@contextmanager
def watched(act: Act) -> Iterator[None]:
    """Call `act` at every moment of every step that the program takes inside the block."""
    round_trip, send = Batcher._round_trip, AbstractConnection.send_packed_command
    request, write, read = http1.exchange, StreamWriter.write_headers, ResponseHandler.read
    steps = _Steps(act)

    async def exchanging(batcher: Batcher, batch: Sequence[Pending]) -> None:
        label = _commands([words for words, _ in batch])
        if _WATCH in label:
            await round_trip(batcher, batch)
        else:
            await steps.step(label, lambda: round_trip(batcher, batch))

    async def sending(connection: Any, *args: Any, **named: Any) -> None:
        await steps.tell("sending")
        await send(connection, *args, **named)
        await steps.tell("sent")

    async def requesting(*where: Any, method: str, **named: Any) -> Any:
        *_, url = where
        label = f"{method} {_shape(url)}"
        return await steps.step(label, lambda: request(*where, method=method, **named))

    async def writing(writer: StreamWriter, line: str, headers: Any) -> None:
        await steps.tell("sending")
        await write(writer, line, headers)

    async def reading(protocol: ResponseHandler) -> Any:
        if _under_way.get() is not None:
            for _ in range(3):  # what was written leaves at the end of the loop's turn
                await asyncio.sleep(0)
            await steps.tell("sent")
        return await read(protocol)

    with (
        patch.object(Batcher, "_round_trip", exchanging),
        patch.object(AbstractConnection, "send_packed_command", sending),
        patch.object(http1, "exchange", requesting),
        patch.object(StreamWriter, "write_headers", writing),
        patch.object(ResponseHandler, "read", reading),
    ):
        yield


def _commands(batch: Sequence[Command]) -> str:
    """Return the names of the commands sent together, those of scripts instead of EVALSHA."""
    names: list[str] = []
    for words in batch:
        name = str(SCRIPTS.get(words[1]) if words[0] == "EVALSHA" else words[0])
        if not names or names[-1] != name:
            names.append(name)
    return "+".join(names)


def _shape(url: URL) -> str:
    """Return the path without ids, so that the same step has the same label in every run."""
    return "/".join("*" if any(map(str.isdigit, part)) else part for part in url.path.split("/"))
