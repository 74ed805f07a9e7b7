"""A child process and its control socket; EOF tells either side that the other has gone."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from typing import Final, Self

from proxy.app.processes.ipc import receive, send

METRICS_TIMEOUT_SECONDS: Final = 1.0
"""The longest wait for the metrics of a process."""

STOP_TIMEOUT_SECONDS: Final = 15.0
"""The time for a process to end after its socket was closed; then it is killed."""

PING_INTERVAL_SECONDS: Final = 10.0
"""The silence after which a process is pinged."""

HANG_TIMEOUT_SECONDS: Final = 60.0
"""The silence after which a process is killed: a start takes a few seconds, and no step blocks its
event loop for one. With the default lease, its requests are due elsewhere by then."""

_INHERITED: Final = ("LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "PATH", "PYTHON", "SSL_", "TZ")
"""Prefixes of the variables that Python, its libraries and TLS read; others may be secrets."""


class ChildProcess:
    """A fresh interpreter in a session of its own.

    It inherits only standard error and its end of the socket: no listener, lock or secret.
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
        self._pings: deque[asyncio.Future[bytes]] = deque()
        self._working = False
        self._hung = False
        self._stop_timeout = STOP_TIMEOUT_SECONDS
        self.pid = process.pid

    @classmethod
    async def start(cls, module: str, name: str) -> Self:
        """Start the module; `name` is shown in the list of processes. Raises OSError."""
        ours, theirs = socket.socketpair()
        environment = {
            variable: value
            for variable, value in os.environ.items()
            if variable.startswith(_INHERITED)
        }
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    # -P: a folder named `proxy` here must not come first
                    *(sys.executable, "-P", "-m", module, name),
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,  # Ctrl-C in a terminal goes to its whole process group
                )
        except OSError:
            ours.close()
            raise
        return cls(process, *await asyncio.open_unix_connection(sock=ours))

    def send_order(self, order: bytes) -> None:
        """Send the first message: the settings and the share of the work."""
        send(self._writer, order)

    async def wait_until_working(self) -> bool:
        """Return True when the process has started to work; False if it has ended before."""
        self._working = await self._next_message() is not None
        return self._working

    async def wait_until_ended(self) -> str:
        """Deliver the answers to pings until the process has ended, and return how it ended.

        A process that has closed its end, or has been asked to stop, is killed after a timeout.
        """
        while (answer := await self._next_message()) is not None:
            self._resolve(answer)
        self._working = False
        while self._pings:
            self._resolve(b"")
        self._writer.close()
        try:
            status = await asyncio.wait_for(self._process.wait(), self._stop_timeout)
        except TimeoutError:
            self._process.kill()
            status = await self._process.wait()
        how = f"status {status}" if status >= 0 else f"signal {-status}: {_signal_name(-status)}"
        if self._hung:
            return f"did not answer for {HANG_TIMEOUT_SECONDS:g} s, and was killed ({how})"
        return f"ended ({how})"

    async def _next_message(self) -> bytes | None:
        """Return the next message, or None at EOF; a process that is silent too long is killed.

        Silence is counted in intervals of our event loop, so that a pause of ours is not blamed
        on the process.
        """
        message = asyncio.create_task(receive(self._reader))
        silence = 0.0
        try:
            while not (await asyncio.wait({message}, timeout=PING_INTERVAL_SECONDS))[0]:
                silence += PING_INTERVAL_SECONDS
                if silence >= HANG_TIMEOUT_SECONDS:
                    self._hung = True
                    with contextlib.suppress(ProcessLookupError):
                        self._process.kill()
                elif self._working:
                    _ = self._ping()  # any answer shows that it is alive
        finally:
            message.cancel()
        return message.result()

    def _resolve(self, answer: bytes) -> None:
        if not (ping := self._pings.popleft()).done():  # the caller may have given up
            ping.set_result(answer)

    async def metrics(self) -> bytes:
        """Return the metrics of the process; empty before it works, or if it does not answer."""
        if not self._working:
            return b""
        try:
            return await asyncio.wait_for(self._ping(), METRICS_TIMEOUT_SECONDS)
        except TimeoutError:
            return b""

    def _ping(self) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pings.append(answer)
        send(self._writer)
        return answer

    def stop(self, within: float) -> None:
        """Ask the process to end within some seconds; `wait_until_ended` enforces it."""
        self._stop_timeout = within
        self._writer.close()


def _signal_name(number: int) -> str:
    return signal.strsignal(number) or "unknown"
