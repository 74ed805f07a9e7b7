"""A process that we started, and the socket to it, whose end tells each side of the other's."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from typing import Final, Self

from proxy.app.processes.ipc import receive, send

ANSWERS_WITHIN: Final = 1.0
"""Seconds that one who asks for metrics waits."""

PATIENCE: Final = 15.0
"""Seconds in which a process ends that has closed its end of the socket, or is killed."""

ASKED_EVERY: Final = 10.0
"""Seconds of silence after which a process is asked."""

HANGS_AFTER: Final = 60.0
"""Seconds of silence after which a process is killed: a start takes a few, and no step keeps its
event loop from answering for one. With the usual lease, what it held is due elsewhere by then."""

_KEPT: Final = ("LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "PATH", "PYTHON", "SSL_", "TZ")
"""How variables begin that an interpreter, its libraries and TLS read; others may be secrets."""


class ChildProcess:
    """A fresh interpreter in a session of its own.

    It inherits standard error and its end of the socket: nothing that listens, no lock, no secret.
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
        self._hung = False
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
                    env={name: it for name, it in os.environ.items() if name.startswith(_KEPT)},
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
        self._works = await self._heard() is not None
        return self._works

    async def ended(self) -> str:
        """Hand over what it answers until it is gone, and return how it ended.

        One that has closed its end, or was told to stop, is killed when it takes too long.
        """
        while (answer := await self._heard()) is not None:
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
        if self._hung:
            return f"did not answer for {HANGS_AFTER:g} s, and was killed ({how})"
        return f"ended ({how})"

    async def _heard(self) -> bytes | None:
        """Return its next message; None when it is gone: one that is silent for long is killed.

        Silence is counted in waits of ours: for the time that we stood still nobody is blamed.
        """
        message = asyncio.create_task(receive(self._reader))
        silent = 0.0
        try:
            while not (await asyncio.wait({message}, timeout=ASKED_EVERY))[0]:
                silent += ASKED_EVERY
                if silent >= HANGS_AFTER:
                    self._hung = True
                    with contextlib.suppress(ProcessLookupError):
                        self._process.kill()
                elif self._works:
                    _ = self._ask()  # whatever it says, it lives
        finally:
            message.cancel()
        return message.result()

    def _answered(self, answer: bytes) -> None:
        if not (asked := self._asked.popleft()).done():  # whoever asked may be gone
            asked.set_result(answer)

    async def metrics(self) -> bytes:
        """Ask for its metrics; before it works, or while it does not answer, there are none."""
        if not self._works:
            return b""
        try:
            return await asyncio.wait_for(self._ask(), ANSWERS_WITHIN)
        except TimeoutError:
            return b""

    def _ask(self) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        send(self._writer)
        return answer

    def stop(self, within: float) -> None:
        """Tell it to end within some seconds; `ended` sees to that."""
        self._patience = within
        self._writer.close()


def _name(number: int) -> str:
    return signal.strsignal(number) or "unknown"
