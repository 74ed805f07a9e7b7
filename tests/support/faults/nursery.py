"""Starts processes of the program quickly, each forked from a warm one, and speaks to them."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

from tests.support.faults.child import Order
from tests.support.faults.io_steps import Crash

ROOT: Final = Path(__file__).parents[3]
WITHIN: Final = 20.0
"""Seconds of real time that anything may take."""


class Ended(Exception):  # noqa: N818 - what is expected of a child that shall crash
    """The child has met its end, or froze; the message is the label of the step."""


class Child:
    """One process of the program, spoken to over a socket.

    No stream: a write to the dead would take the last words with it that were not read yet.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._heard = b""
        self._listening: asyncio.Task[bytes] | None = None
        self.pid = 0

    async def hear(self) -> dict[str, Any]:
        """Return what it says next; raises Ended, or AssertionError for an end without a plan."""
        line = await self._next()
        said: dict[str, Any] = orjson.loads(line or b'{"failed": "ended in silence"}')
        if "ended" in said:
            raise Ended(said["ended"])
        assert "failed" not in said, said
        self.pid = said.get("pid", self.pid)
        return said

    def thaw(self) -> None:
        """Let it go on where it froze."""
        os.kill(self.pid, signal.SIGCONT)

    async def work(self) -> dict[str, Any]:
        """Let it do what is due next, and return what it says then."""
        with contextlib.suppress(BrokenPipeError):
            await asyncio.get_running_loop().sock_sendall(self._channel, b"\n")
        return await self.hear()

    async def close(self) -> None:
        """Let it end, and return when it has: the kernel closes its end of the channel then."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        try:
            while line := await self._next():
                assert b'"failed"' not in line, line
        finally:
            self._let_go()

    def abandon(self) -> None:
        """Kill it, frozen as it is, unless it has ended: nobody will let it go on."""
        if self._channel.fileno() >= 0:
            os.kill(self.pid, signal.SIGKILL)
            self._let_go()

    def _let_go(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._channel.close()

    async def _next(self) -> bytes:
        """Return the next line. Who stops waiting for it takes no words away from who asks next."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._line())
        line = await asyncio.wait_for(asyncio.shield(self._listening), WITHIN)
        self._listening = None
        return line

    async def _line(self) -> bytes:
        while b"\n" not in self._heard:
            try:
                words = await asyncio.get_running_loop().sock_recv(self._channel, 65_536)
            except ConnectionResetError:  # it died without having read what we wrote
                words = b""
            if not words:
                return b""
            self._heard += words
        line, _, self._heard = self._heard.partition(b"\n")
        return line


class Nursery:
    """One warm process; leaving the block ends it, and every child was closed before."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="ap-", dir="/tmp")  # sockets: < 104 bytes
        self._channel = f"{self._folder}/channel"
        self._door = socket.socket(socket.AF_UNIX)
        self._turn = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self._folder)
        self._stack.enter_context(self._door)
        self._door.setblocking(False)
        self._door.bind(self._channel)
        self._door.listen()
        self._warm = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.faults.child"),
            stdin=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        self._stack.push_async_callback(self._warm.wait)
        assert self._warm.stdin is not None
        self._stack.callback(self._warm.stdin.close)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def fork(self, settings: Path, clock: Path, crash: Crash | None, without: str) -> Child:
        """Return a new child, which has not done anything yet."""
        order = Order(str(settings), str(clock), self._channel, crash, without)
        assert self._warm.stdin is not None
        async with self._turn:
            self._warm.stdin.write(orjson.dumps(asdict(order)) + b"\n")
            accept = asyncio.get_running_loop().sock_accept(self._door)
            channel, _ = await asyncio.wait_for(accept, WITHIN)
        channel.setblocking(False)
        child = Child(channel)
        await child.hear()  # who it is: it may have to be killed before it says more
        return child
