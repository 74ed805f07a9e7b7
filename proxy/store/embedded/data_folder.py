"""The embedded server's data folder: private, used by one program at a time, short socket path."""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import Self

from proxy.errors import ConfigurationError

_LONGEST_SOCKET_PATH = 103
"""Bytes: sun_path holds 104 on macOS and 108 on Linux, the closing NUL included."""


class LockedFolder:
    """A folder with mode 0700 that belongs to this program until it is released.

    Two locks, both of the kernel, so that a crash leaves neither behind: `program.lock` is held by
    the program, `server.lock` by the server and its guardian. A program that was killed frees the
    first at once and the second when its server has ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.log = self.path / "server.log"
        self.pid_file = self.path / "server.pid"
        self._socket_record = self.path / "server.socket"
        self._lock: int | None = None

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Make the folder if it is missing, and lock it for this program.

        Raises ConfigurationError if another program uses it, if it cannot be made private, or if
        it holds files of somebody else: a mistyped `/home/me` must not become a data folder.
        """
        folder = cls(path)
        try:
            folder._make_private()
            lock = _locked(folder.path / "program.lock")
        except OSError as error:
            raise ConfigurationError(
                f"The data folder {folder.path} cannot be used: {error.strerror}. "
                "It must belong to the user that runs this program."
            ) from error
        if lock is None:
            holder = (folder.path / "program.lock").read_text().strip() or "unknown"
            raise ConfigurationError(
                f"The data folder {folder.path} is used by another program (process {holder}). "
                "Stop that one, or give this one a data folder of its own; several processes "
                "that share one store need a redis_url."
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        folder._lock = lock
        return folder

    def server_lock(self) -> int | None:
        """Return an open file that locks the folder for a server; None while one runs."""
        return _locked(self.path / "server.lock")

    def place_socket(self) -> Path:
        """Choose and record the path of the server's socket.

        It lies in the folder, or in a short private one where the folder's path is too long for
        a socket address. It is recorded before use, so that a later program can reach the server.
        Raises ConfigurationError if the temporary folder's path is too long as well.
        """
        socket = self.path / "server.sock"
        if _too_long(socket):
            socket = Path(tempfile.mkdtemp(prefix="approval-proxy-")) / "server.sock"
        self._socket_record.write_bytes(os.fsencode(socket))
        if _too_long(socket):
            self.forget_socket()
            raise ConfigurationError(
                f"The socket path {socket} is longer than {_LONGEST_SOCKET_PATH} bytes. "
                "Choose a data folder with a shorter path, or a shorter TMPDIR."
            )
        return socket

    def recorded_socket(self) -> Path | None:
        """Return the socket path of the latest server of this folder, which may have ended."""
        try:
            return Path(os.fsdecode(self._socket_record.read_bytes()))
        except FileNotFoundError:
            return None

    def forget_socket(self) -> None:
        """Remove the socket, the short folder made for it and the record, when no server lives."""
        socket = self.recorded_socket()
        if socket is None:
            return
        socket.unlink(missing_ok=True)
        if socket.parent != self.path:
            with contextlib.suppress(OSError):  # a cleaner of temporary files came first
                socket.parent.rmdir()
        self._socket_record.unlink()

    def release(self) -> None:
        """Let another program have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make_private(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(self.path.iterdir()) and not (self.path / "program.lock").exists():
            raise ConfigurationError(
                f"The data folder {self.path} holds files that are not this program's. "
                "Name an empty folder, or one that does not exist yet."
            )
        self.path.chmod(0o700)


def _locked(path: Path) -> int | None:
    """Return the file, opened and locked; None if another process has locked it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _too_long(socket: Path) -> bool:
    return len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH
