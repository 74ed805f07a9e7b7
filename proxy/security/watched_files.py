"""Detecting changed files (secrets, keys, certificates), and writing files that survive a crash."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

EVERY: Final = 1.0
"""Seconds between two checks of the same files; a rotation need not be noticed faster."""

_Mark = tuple[int, int, int, int]


class WatchedFiles:
    """Detects changes of files, including a replaced symbolic link on their path.

    Create it before the files are first read, otherwise a change in between is missed. `monotonic`
    is in seconds.
    """

    def __init__(self, *paths: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.paths = paths
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._marks = [_mark(path) for path in paths]

    def changed(self) -> bool:
        """Return True once after a file has changed; the files are checked at most once a second.

        Deleting a file is a change, and creating it again is another one.
        """
        now = self._monotonic()
        if now < self._checked_at + EVERY:
            return False
        self._checked_at = now
        marks = [_mark(path) for path in self.paths]
        if marks == self._marks:
            return False
        self._marks = marks
        return True


def _mark(path: Path) -> _Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # ctime also changes when only the permissions are repaired
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def replace(path: Path, content: bytes) -> None:
    """Replace a file with one that only its owner can read, and sync its content to the disk.

    The content is written to a temporary file, which is then renamed. So a crash or a power cut
    leaves the previous file or none, but never a partial one. Raises OSError.
    """
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    unfinished.rename(path)


def keep_names(folder: Path) -> None:
    """Sync a folder, so that the names of its files are on the disk.

    Syncing a file does not sync its name (fsync(2)). Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
