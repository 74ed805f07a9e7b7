"""Where sealed lines go: files in a folder, or standard output.

A folder holds `audit-<number of its first line>-<when it was begun>.jsonl`, which are only ever
appended to; `head.json`, the newest signed head; and `keys.json`, the public keys to verify with.
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
    """A file by the number of its first line and the moment (ms) when it was begun."""

    first: int
    begun: int
    path: Path

    def lines(self) -> Iterator[bytes]:
        """Yield the lines as they are, with their ends."""
        with self.path.open("rb") as file:
            yield from file


def files_in(folder: Path) -> list[AuditFile]:
    """Return a folder's audit files, oldest first."""
    if not folder.is_dir():
        return []
    names = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
    return sorted(AuditFile(int(it[1]), int(it[2]), path) for path, it in names if it)


class Sink(Protocol):
    """Takes sealed lines; every method may wait for a disk and raises OSError."""

    def append(self, first: int, lines: Sequence[bytes]) -> None:
        """Write lines, the first of them by its number; on the disk when this returns."""
        ...

    def publish(self, name: str, content: bytes) -> None:
        """Replace a small file beside the lines."""
        ...

    def begin_anew(self) -> None:
        """Write what comes next to a file of its own."""
        ...

    def files(self) -> list[AuditFile]:
        """Return what can be read again, oldest first."""
        ...


class Folder:
    """Files in a folder: a new one for every sealer, every day and every 64 MiB."""

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
        """Replace it whole, so that a reader finds the old or the new."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self.folder / name, content)

    def begin_anew(self) -> None:
        """Leave the present file as it is."""
        self._file = None

    def files(self) -> list[AuditFile]:
        """Return the folder's files."""
        return files_in(self.folder)


class StandardOutput:
    """Lines on standard output, for whoever collects it; nothing can be read again."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream: BinaryIO = stream or sys.stdout.buffer

    def append(self, first: int, lines: Sequence[bytes]) -> None:  # noqa: ARG002 - as a folder
        """Write lines at once."""
        self._stream.write(b"".join(line + b"\n" for line in lines))
        self._stream.flush()

    def publish(self, name: str, content: bytes) -> None:
        """Keep silent: there is nothing beside a stream."""

    def begin_anew(self) -> None:
        """Go on: a stream has no files."""

    def files(self) -> list[AuditFile]:
        """Return none."""
        return []


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return a whole line of an audit; None for anything else, such as a half-written one."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    sound = isinstance(found.get("seq"), int) and isinstance(found.get("prev"), str)
    return found if sound else None
