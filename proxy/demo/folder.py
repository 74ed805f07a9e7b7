"""The folder that a demo leaves behind to be read; one demo at a time uses it."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final, Self

from proxy.errors import ConfigurationError
from proxy.simulators.journal import Entry, read_journal

_LOCK: Final = "demo.lock"


class DemoFolder:
    """Settings, logs and journals of one run; those of the run before are removed.

    The lock is handed on to every process of the demo, so that a demo which was killed and left
    some of them behind is found, with their ids.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.settings = path / "approval-proxy.yaml"
        self.store = path / "store"

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Make the folder, or empty the one that an earlier demo has left.

        Raises:
            ConfigurationError: another demo uses it, or it is no folder of a demo.
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
        """Write down a process of this demo, for whoever finds the folder locked."""
        os.write(self.lock, b"%d\n" % pid)

    def release(self) -> None:
        """Let another demo have the folder once all processes of this one have ended."""
        os.close(self.lock)

    def log(self, name: str) -> Path:
        """Return where a process writes its log."""
        return self.path / f"{name}.log"

    def journal(self, name: str) -> Path:
        """Return where a simulator writes its journal."""
        return self.path / f"{name}.jsonl"

    def evidence(self, name: str) -> list[Entry]:
        """Return what a simulator wrote into its journal so far; nothing if it never started."""
        file = self.journal(name)
        return read_journal(file) if file.exists() else []

    def _empty(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        for left in (self.settings, *self.path.glob("*.log"), *self.path.glob("*.jsonl")):
            left.unlink(missing_ok=True)
        os.ftruncate(self.lock, 0)
