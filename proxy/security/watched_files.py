"""Files that may be replaced while we run (secrets, keys, certificates); files that must stay."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

EVERY: Final = 1.0
"""Seconds between two looks at the same files: a rotation need not be faster."""

_Mark = tuple[int, int, int, int]


class WatchedFiles:
    """Tells when files have changed; also where a symbolic link on the way was swapped.

    Make it before the files are read for the first time, or a change in between is missed.
    `monotonic` is in seconds.
    """

    def __init__(self, *paths: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.paths = paths
        self._monotonic = monotonic
        self._looked_at = monotonic()
        self._seen = [_mark(path) for path in paths]

    def changed(self) -> bool:
        """Whether a file is another one than at the last look, looking once a second at most.

        To be gone is a change too, and to be there again is the next one.
        """
        now = self._monotonic()
        if now < self._looked_at + EVERY:
            return False
        self._looked_at = now
        marks = [_mark(path) for path in self.paths]
        if marks == self._seen:
            return False
        self._seen = marks
        return True


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # the time of the last change also tells of permissions that were repaired
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def replace(path: Path, content: bytes) -> None:
    """Put a file for its owner alone in place of what is there, with its content on the disk.

    It is written beside and renamed: a crash or a power cut leaves the former one, or none, and
    never a half. Raises OSError.
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
    """Wait until the names of a folder's files are on the disk, which their contents do not imply.

    fsync(2) says so. Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
