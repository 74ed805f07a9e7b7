"""The lines of the audit: each has the hash of the line before it, so changes are detected. Pure.

A line is a JSON object with its number `seq` and `prev`, the SHA-256 of the line before, and one of

    entry        an audit entry as the Lua script wrote it, with `stream` and `at` (its position
                 there), `request` (a correlation id, or empty), and `sealed`: an encrypted snapshot
                 of the request, from which it can be rebuilt
    head         the number and hash of the line before, signed
    checkpoint   the last line that retention removed, signed
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

GENESIS: Final = "0" * 64
"""The `prev` of the very first line."""

HEAD: Final = "audit-head+jws"
CHECKPOINT: Final = "audit-checkpoint+jws"


def digest(line: bytes) -> str:
    """Return the hash of a line, which the next line contains."""
    return hashlib.sha256(line).hexdigest()


@dataclass(slots=True)
class Chain:
    """The end of a chain."""

    lines: int = 0
    """How many lines it has."""
    last: str = GENESIS
    """The hash of the last line."""

    def add(self, content: Mapping[str, Any]) -> bytes:
        """Return the next line, and make it the last one."""
        line = orjson.dumps({"seq": self.lines + 1, "prev": self.last, **content})
        self.lines, self.last = self.lines + 1, digest(line)
        return line
