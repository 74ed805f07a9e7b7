"""The folder with the files of a demo; only one demo uses it at a time."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final, Self

from proxy.errors import ConfigurationError
from proxy.simulators.journal import Entry, read_journal

_LOCK: Final = "demo.lock"


class DemoFolder:
    """Settings, logs and journals of one run; those of the previous run are removed.

    Every process of the demo inherits the lock, and the lock file has their ids: so the processes
    of a demo that was killed can be found.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.settings = path / "approval-proxy.yaml"
        self.store = path / "store"

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Create the folder, or empty the one of an earlier demo.

        Raises:
            ConfigurationError: another demo uses it, or the folder is not of a demo.
        """
        path = path.absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()) and not (path / _LOCK).exists():
                raise ConfigurationError(
                    f"{path} holds files that are not of a demo: name another --folder"
                )
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be used: {error.strerror}") from error
        folder = cls(path, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            users = ", ".join((path / _LOCK).read_text().split())
            folder.release()
            raise ConfigurationError(
                f"{path} is used by another demo (processes {users}): end it, or name another"
                " --folder"
            ) from None
        folder._empty()
        folder.note(os.getpid())
        return folder

    def note(self, pid: int) -> None:
        """Write the id of a process of this demo into the lock file."""
        os.write(self.lock, b"%d\n" % pid)

    def release(self) -> None:
        """Release the lock; the folder is free once all processes of this demo have ended."""
        os.close(self.lock)

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.path / f"{name}.log"

    def journal(self, name: str) -> Path:
        """Return the journal file of a simulator."""
        return self.path / f"{name}.jsonl"

    def evidence(self, name: str) -> list[Entry]:
        """Return the journal of a simulator so far; empty if it never started."""
        file = self.journal(name)
        return read_journal(file) if file.exists() else []

    def _empty(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        for file in (self.settings, *self.path.glob("*.log"), *self.path.glob("*.jsonl")):
            file.unlink(missing_ok=True)
        os.ftruncate(self.lock, 0)
