"""Destinations of sealed lines: files in a folder, or standard output.

A folder has `audit-<number of the first line>-<creation time>.jsonl`, which only grow; `head.json`,
the newest signed head; and `keys.json`, the public keys to verify with.
"""

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import orjson

from proxy.domain.schedule import DAY
from proxy.security.watched_files import keep_names, replace

HEAD_FILE: Final = "head.json"
KEYS_FILE: Final = "keys.json"
_LARGEST: Final = 64 * 1024 * 1024
_NEW: Final = os.O_CREAT | os.O_EXCL
_NAME: Final = re.compile(r"audit-(\d{12})-(\d{13,})\.jsonl")


@dataclass(frozen=True, slots=True, order=True)
class AuditFile:
    """One audit file."""

    first: int
    """The number of its first line."""
    begun: int
    """Its creation time, in ms since the epoch."""
    path: Path
    """Its path."""

    def lines(self) -> Iterator[bytes]:
        """Yield the raw lines, with their line ends."""
        with self.path.open("rb") as file:
            yield from file


def files_in(folder: Path) -> list[AuditFile]:
    """Return a folder's audit files, oldest first."""
    if not folder.is_dir():
        return []
    names = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
    return sorted(AuditFile(int(name[1]), int(name[2]), path) for path, name in names if name)


class Sink(Protocol):
    """A destination of sealed lines; every method may block on the disk and may raise OSError."""

    def append(self, first: int, lines: Sequence[bytes]) -> None:
        """Write lines, of which the first has number `first`; durable when this returns."""
        ...

    def publish(self, name: str, content: bytes) -> None:
        """Replace a small file that accompanies the lines."""
        ...

    def begin_anew(self) -> None:
        """Write the next lines to a new file."""
        ...

    def files(self) -> list[AuditFile]:
        """Return the files that can be read again, oldest first."""
        ...


class Folder:
    """Files in a folder: a new one per sealer, per day and per 64 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: AuditFile | None = None
        self._size = 0

    def append(self, first: int, lines: Sequence[bytes]) -> None:
        """Write lines and wait for the disk."""
        now = time.time_ns() // 1_000_000
        if self._file and (self._size > _LARGEST or now // DAY != self._file.begun // DAY):
            self.begin_anew()
        how = os.O_WRONLY | os.O_APPEND
        if self._file is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / f"audit-{first:012d}-{now}.jsonl"
            self._file, self._size, how = AuditFile(first, now, path), 0, how | _NEW
        whole = b"".join(line + b"\n" for line in lines)
        begins = not self._size
        with os.fdopen(os.open(self._file.path, how, 0o600), "wb") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        if begins:
            keep_names(self.folder)
        self._size += len(whole)

    def publish(self, name: str, content: bytes) -> None:
        """Replace it atomically, so that a reader gets the old or the new content."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self.folder / name, content)

    def begin_anew(self) -> None:
        """Append no more lines to the present file."""
        self._file = None

    def files(self) -> list[AuditFile]:
        """Return the folder's files."""
        return files_in(self.folder)


class StandardOutput:
    """Lines on standard output, for a log collector; they cannot be read again."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream: BinaryIO = stream or sys.stdout.buffer

    def append(self, first: int, lines: Sequence[bytes]) -> None:  # noqa: ARG002 - as a folder
        """Write lines at once."""
        self._stream.write(b"".join(line + b"\n" for line in lines))
        self._stream.flush()

    def publish(self, name: str, content: bytes) -> None:
        """Do nothing: a stream has no other files."""

    def begin_anew(self) -> None:
        """Do nothing: a stream has no files."""

    def files(self) -> list[AuditFile]:
        """Return none."""
        return []


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return a complete line of an audit; None for anything else, such as half a line."""
    if not line.endswith(b"\n"):
        return None
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    match content:
        case {"seq": int(), "prev": str()}:
            parsed_line: dict[str, Any] = content
            return parsed_line
        case _:
            return None
