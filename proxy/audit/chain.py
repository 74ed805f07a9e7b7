"""The lines of the audit: each holds the hash of the one before it, so a change shows. Pure.

A line is a JSON object with its number `seq` and `prev`, the SHA-256 of the line before, and one of

    entry        what happened, as the store's step wrote it, with `stream` and `at` (where it stood
                 there), `request` (a correlation id, or empty), and `sealed`: the request's record
                 of then, encrypted, from which it can be rebuilt
    head         the number and hash of the line before, signed
    checkpoint   the last line that retention removed, signed
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

GENESIS: Final = "0" * 64
"""What the first line of all holds in place of a hash."""

HEAD: Final = "audit-head+jws"
CHECKPOINT: Final = "audit-checkpoint+jws"


def digest(line: bytes) -> str:
    """Return the hash by which the next line holds this one."""
    return hashlib.sha256(line).hexdigest()


@dataclass(slots=True)
class Chain:
    """The end of a chain: how many lines it has, and the last one's hash."""

    lines: int = 0
    last: str = GENESIS

    def add(self, content: Mapping[str, Any]) -> bytes:
        """Return the next line; from then on it is the last one."""
        line = orjson.dumps({"seq": self.lines + 1, "prev": self.last, **content})
        self.lines, self.last = self.lines + 1, digest(line)
        return line
