"""Files that may be replaced while we run: secrets, keys, certificates."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

EVERY: Final = 1.0
"""Seconds between two looks at the same files: a rotation need not be faster."""

_Mark = tuple[int, int, int]


class Watched:
    """Tells when files have changed; also where a symbolic link on the way was swapped."""

    def __init__(self, *paths: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._paths = paths
        self._monotonic = monotonic
        self._looked_at = monotonic()
        self._seen = [_mark(path) for path in paths]

    def changed(self) -> bool:
        """Whether a file is another one than at the last look, looking once a second at most.

        A file that is gone for a moment, as while it is being replaced, has not changed.
        """
        now = self._monotonic()
        if now < self._looked_at + EVERY:
            return False
        self._looked_at = now
        marks = [_mark(path) for path in self._paths]
        if None in marks or marks == self._seen:
            return False
        self._seen = marks
        return True


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
