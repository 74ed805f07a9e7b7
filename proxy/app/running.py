"""A process that we started, and the socket to it, whose end tells each side of the other's."""

import asyncio
import signal
import socket
import sys
from collections import deque
from typing import Final, Self

from proxy.app.messages import receive, send

ANSWERS_WITHIN: Final = 1.0
"""Seconds that one who asks for metrics waits."""

PATIENCE: Final = 15.0
"""Seconds in which a process ends that has closed its end of the socket, or is killed."""


class Running:
    """A fresh interpreter in a session of its own.

    It inherits standard error and its end of the socket: nothing that listens, no lock.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._asked: deque[asyncio.Future[bytes]] = deque()
        self._works = False
        self._patience = PATIENCE
        self.pid = process.pid

    @classmethod
    async def start(cls, module: str, name: str) -> Self:
        """Start the module; `name` is for people who look at processes. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    # -P: a folder named `proxy` here must not come first
                    *(sys.executable, "-P", "-m", module, name),
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C in a terminal goes to its whole process group
                )
        except OSError:
            ours.close()
            raise
        return cls(process, *await asyncio.open_unix_connection(sock=ours))

    def tell(self, order: bytes) -> None:
        """Say what it is to do: its first message."""
        send(self._writer, order)

    async def works(self) -> bool:
        """Whether it begins, once it does or has ended."""
        self._works = await receive(self._reader) is not None
        return self._works

    async def ended(self) -> str:
        """Hand over what it answers until it is gone, and return how it ended.

        One that has closed its end, or was told to stop, is killed when it takes too long.
        """
        while (answer := await receive(self._reader)) is not None:
            self._answered(answer)
        self._works = False
        while self._asked:
            self._answered(b"")
        self._writer.close()
        try:
            status = await asyncio.wait_for(self._process.wait(), self._patience)
        except TimeoutError:
            self._process.kill()
            status = await self._process.wait()
        how = f"status {status}" if status >= 0 else f"signal {-status}: {_name(-status)}"
        return f"ended ({how})"

    def _answered(self, answer: bytes) -> None:
        if not (asked := self._asked.popleft()).done():  # whoever asked may be gone
            asked.set_result(answer)

    async def metrics(self) -> bytes:
        """Ask for its metrics; before it works, or while it does not answer, there are none."""
        if not self._works:
            return b""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        send(self._writer)
        try:
            return await asyncio.wait_for(answer, ANSWERS_WITHIN)
        except TimeoutError:
            return b""

    def stop(self, within: float) -> None:
        """Tell it to end within some seconds; `ended` sees to that."""
        self._patience = within
        self._writer.close()


def _name(number: int) -> str:
    return signal.strsignal(number) or "unknown"
