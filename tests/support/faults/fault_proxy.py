"""A network that fails, between the program and any server: a TCP proxy with faults.

It stands before Redis (TCP or unix socket), an authorization server, a ticket system or witboost,
and knows no protocol but turns: whatever a client sends after the last answer begins an exchange. A
fault strikes exchanges, also on a connection that was opened before it was switched on.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self, get_args
from urllib.parse import unquote, urlsplit

Kind = Literal[
    "refuse",  # resets the connection before anything is delivered, and refuses new ones
    "hang",  # delivers nothing and answers nothing, until the fault is switched off
    "reset",  # resets the connection once `after` bytes of the answer have passed
    "cut",  # resets the connection once `after` bytes of the request have passed
    "drop",  # delivers the request, swallows the answer and resets the connection
    "delay",  # answers `seconds` later
    "throttle",  # lets `rate` bytes of the answer pass per second
    "truncate",  # ends the connection in good order once `after` bytes of the answer have passed
    "half-close",  # delivers the request and ends only the answer's direction, in good order
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_CHUNK: Final = 65_536
_SLICE: Final = 0.02  # seconds between two portions of a throttled answer


@dataclass(slots=True)
class Fault:
    """What goes wrong with exchanges.

    It passes over the first `skip` exchanges, then strikes `times` of them (None: until switched
    off), each with a probability. `struck` counts those that suffered.
    """

    kind: Kind
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    after: int = 0
    seconds: float = 0.0
    rate: int = 0
    struck: int = 0
    _gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_on(self) -> bool:
        """Whether it can still strike."""
        return not self._gate.is_set() and (self.times is None or self.struck < self.times)

    def off(self) -> None:
        """Strike no more, and let go on what hangs."""
        self._gate.set()

    async def ended(self) -> None:
        """Return when it is switched off."""
        await self._gate.wait()


class FaultProxy:
    """Listens on a free port of this machine and passes on to `target`; use `async with`.

    `target` is a URL (`http://`, `redis://`, `unix://`); `url` is the same server through the
    faults. `exchanges` counts those that began, `faults` are those that were switched on.
    """

    def __init__(self, target: str, *, seed: int = 0) -> None:
        self._target = urlsplit(target)
        self.faults: list[Fault] = []
        self._dice = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: set[asyncio.Task[None]] = set()
        self.exchanges = 0

    @property
    def url(self) -> str:
        """Where the program finds the server."""
        scheme = "redis" if self._target.scheme == "unix" else self._target.scheme
        return f"{scheme}://127.0.0.1:{self._port}"

    @property
    def listens(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None

    def point_at(self, target: str) -> None:
        """Pass new connections on to another server from now on."""
        self._target = urlsplit(target)

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_door()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def switch_on(self, fault: Fault) -> Fault:
        """Make exchanges go wrong from now on; the first fault that strikes one is the only one."""
        self.faults.append(fault)
        if fault.kind == "refuse" and fault.times is None and fault.probability >= 1:
            self._close_door()
            reopening = asyncio.create_task(self._reopen(fault))
            self._links.add(reopening)
            reopening.add_done_callback(self._links.discard)
        return fault

    def strike(self) -> Fault | None:
        """Begin an exchange, and return the fault that it suffers."""
        self.exchanges += 1
        for fault in self.faults:
            if not fault.is_on or self._dice.random() >= fault.probability:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.struck += 1
            return fault
        return None

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def _close_door(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reopen(self, fault: Fault) -> None:
        await fault.ended()
        await self._listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        client = Side(reader, writer)
        try:
            server = Side(*await self._connect())
        except OSError:
            client.reset()
            return
        try:
            await _Link(client, server, self.strike).run()
        except asyncio.CancelledError:  # the proxy closes
            client.reset()
        finally:
            server.writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(self._target.path))
        return await asyncio.open_connection(self._target.hostname, self._target.port)


@dataclass(slots=True)
class Side:
    """One end of a link."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Pass bytes on."""
        self.writer.write(data)
        await self.writer.drain()

    def end(self) -> None:
        """Close this direction in good order; the connection may be gone (uvloop raises then)."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write_eof()

    def reset(self) -> None:
        """Reset the connection (RST, not FIN), so nobody takes it for an orderly end."""
        connection = self.writer.get_extra_info("socket")  # None once the other side has reset it
        if connection is not None:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


class _End(Exception):  # noqa: N818 - the fault ends the link
    """The link is over: reset, or closed in good order."""

    def __init__(self, how: Literal["reset", "closed"] = "reset") -> None:
        super().__init__(how)
        self.how = how


@dataclass(slots=True)
class _Link:
    """One connection through the proxy: two directions, and the fault of the exchange under way."""

    client: Side
    server: Side
    strike: Callable[[], Fault | None]
    fault: Fault | None = None
    answered: bool = True
    passed: int = 0

    async def run(self) -> None:
        """Pass on until both sides have ended, or a fault ends the link."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._requests())
                tasks.create_task(self._answers())
        except* _End as ends:
            if "reset" in {end.how for end in ends.exceptions if isinstance(end, _End)}:
                self.client.reset()
        except* (OSError, RuntimeError):  # uvloop raises the latter for a transport that is gone
            self.client.reset()
        self.client.writer.close()

    async def _requests(self) -> None:
        while data := await self.client.reader.read(_CHUNK):
            if self.answered:
                self.answered, self.passed, self.fault = False, 0, self.strike()
            await self._request(data)
        if self.fault is not None and self.fault.kind == "half-close":
            raise _End("closed")
        self.server.end()

    async def _request(self, data: bytes) -> None:
        match self.fault:
            case Fault("refuse"):
                raise _End
            case Fault("hang") as fault:
                await fault.ended()
                raise _End
            case Fault("cut", after=after):
                await self.server.send(data[: max(after - self.passed, 0)])
                self.passed += len(data)
                if self.passed >= after:
                    raise _End
            case _:
                await self.server.send(data)

    async def _answers(self) -> None:
        while data := await self.server.reader.read(_CHUNK):
            self.answered = True
            await self._answer(data)
        if self.fault is None or self.fault.kind != "half-close":
            raise _End("closed")

    async def _answer(self, data: bytes) -> None:
        passed, self.passed = self.passed, self.passed + len(data)
        match self.fault:
            case Fault("drop"):
                raise _End
            case Fault("half-close"):
                self.client.end()
            case Fault("reset" | "truncate" as kind, after=after):
                await self.client.send(data[: max(after - passed, 0)])
                if self.passed >= after:
                    raise _End("reset" if kind == "reset" else "closed")
            case Fault("delay", seconds=seconds):
                await asyncio.sleep(seconds)
                await self.client.send(data)
            case Fault("throttle", rate=rate):
                size = max(int(rate * _SLICE), 1)
                for start in range(0, len(data), size):
                    await self.client.send(data[start : start + size])
                    await asyncio.sleep(_SLICE)
            case _:
                await self.client.send(data)
