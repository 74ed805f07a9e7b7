"""A clock that several processes read and only the test moves: eight bytes of a shared file."""

import mmap
import struct
from pathlib import Path
from typing import Final

from typing_extensions import override

from proxy.domain.clock import Clock

EPOCH: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""

_FORMAT: Final = struct.Struct("<q")


class SharedClock(Clock):
    """Survives the death of any process that uses it; the file is made where there is none."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(_FORMAT.pack(0))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _FORMAT.size)

    @override
    def now(self) -> int:
        return EPOCH + self.monotonic()

    @override
    def monotonic(self) -> int:
        passed: int = _FORMAT.unpack_from(self._memory)[0]
        return passed

    def reach(self, moment: int) -> None:
        """Let time pass until a moment (milliseconds since the epoch); it never goes back."""
        _FORMAT.pack_into(self._memory, 0, max(self.monotonic(), moment - EPOCH))

    def close(self) -> None:
        """Unmap the file."""
        self._memory.close()
