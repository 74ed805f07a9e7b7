"""The file of an export: encrypted line by line, so that any damage is detected.

The first line describes the file in clear. Every other line is encrypted for its position: for the
file with this first line, the line's number, and whether it is the last one. So a file that was cut
off, joined or edited cannot be decrypted. One line is read or written at a time, however many
requests there are.
"""

import base64
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import orjson

from proxy import __version__
from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing
from proxy.store.transfer.exporter import Item

_FORMAT: Final = 1
_LARGE: Final = 64 * 1024  # bytes of items: then a line is written
_NAME: Final = "approval_proxy_export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first line of an export."""

    id: str
    """Random name of this export."""
    at: int
    """When it was made, in ms since the epoch."""
    namespace: str
    """The exported namespace."""
    partitions: int
    """Its number of partitions."""
    layout: int
    """The version of its keys."""
    requests: int
    """How many requests it has."""
    changed: Mapping[str, str]
    """The last id of each audit stream: a store with other ids has changed since."""
    format: int = _FORMAT
    """The version of the file's format."""
    program: str = __version__
    """The version of the program that wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The history of the exported store; encrypted in the file."""

    placement: str | None
    """The key that chooses partitions, in base64; None for digests without a key."""
    scattered: bool
    """True if the ids of requests reveal only their partition, because of an earlier import."""
    former: Sequence[tuple[str, int]]
    """Earlier namespaces, with their numbers of partitions."""

    @property
    def placement_key(self) -> bytes | None:
        """The key that chooses partitions."""
        return None if self.placement is None else base64.b64decode(self.placement)


def refuse_to_overwrite(path: Path) -> None:
    """Raise ConfigurationError if the file exists."""
    if path.exists():
        raise ConfigurationError(f"{path} exists already. Name another file.")


class ExportWriter:
    """Writes a new file that only its owner can read; `with` removes it after an error."""

    def __init__(self, path: Path, ring: KeyRing, head: Head, origin: Origin) -> None:
        """Begin the file; raises ConfigurationError if it exists or cannot be created."""
        self._path = path
        self._ring = ring
        self._lines = 0
        self._items: list[bytes] = []
        self._size = 0
        first = orjson.dumps({_NAME: dataclasses.asdict(head)})
        self._digest = hashlib.sha256(first).hexdigest()
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, how, 0o600), "wb")
            self._file.write(first + b"\n")
            self._seal(orjson.dumps(dataclasses.asdict(origin)), last=False)
        except OSError as error:
            raise _unwritable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if error is not None:
            self._path.unlink(missing_ok=True)

    def add(self, item: Item) -> None:
        """Write an item, or buffer it for the next line; raises ConfigurationError."""
        self._items.append(orjson.dumps(item))
        self._size += len(self._items[-1])
        if self._size > _LARGE:
            self._write(last=False)

    def finish(self) -> None:
        """Write the last line and wait for the disk; raises ConfigurationError."""
        self._write(last=True)

    def _write(self, *, last: bool) -> None:
        try:
            self._seal(b"[" + b",".join(self._items) + b"]", last=last)
            if last:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._items, self._size = [], 0

    def _seal(self, plain: bytes, *, last: bool) -> None:
        self._lines += 1
        position = _position(self._digest, self._lines, last=last)
        self._file.write(self._ring.seal(plain, name=position) + b"\n")


class ExportFile:
    """An existing export; its head is only verified once `items` has ended."""

    def __init__(self, path: Path, ring: KeyRing) -> None:
        """Read the head; raises ConfigurationError if it is not an export, or of a newer format."""
        self._path = path
        self._ring = ring
        try:
            with path.open("rb") as file:
                first = file.readline(_LARGE).rstrip(b"\n")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        self._digest = hashlib.sha256(first).hexdigest()
        self.head = self._head(first)

    def _head(self, first: bytes) -> Head:
        try:
            fields: Mapping[str, Any] = orjson.loads(first)[_NAME]
            version = int(fields["format"])
            head = Head(**fields) if version == _FORMAT else None
        except (ValueError, TypeError, KeyError):
            raise ConfigurationError(f"{self._path} is not an export of a store.") from None
        if head is None:
            raise ConfigurationError(
                f"{self._path} has format {version}, but this version of the program reads"
                f" {_FORMAT}. Import it with version {fields.get('program')}."
            )
        return head

    @property
    def origin(self) -> Origin:
        """The history of the exported store; raises as `items` does."""
        return Origin(**next(self._opened()))

    def items(self) -> Iterator[list[Item]]:
        """Yield the items of each line.

        Raises:
            ConfigurationError: a line was changed, or the last one is missing.
        """
        lines = self._opened()
        next(lines)
        yield from lines

    def _opened(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            file.readline()
            sealed, number = file.readline(), 1
            while sealed:
                following = file.readline()
                yield orjson.loads(self._open(sealed.rstrip(b"\n"), number, last=not following))
                sealed, number = following, number + 1
        if number == 1:
            raise self._damaged(number)

    def _open(self, sealed: bytes, number: int, *, last: bool) -> bytes:
        try:
            return self._ring.open(sealed, name=_position(self._digest, number, last=last))
        except ConfigurationError as error:
            if name := self._ring.missing(sealed):
                raise ConfigurationError(
                    f"{self._path} was encrypted with the key {name}, which is not in the key ring."
                    " Add it to encryption.keys, below the first one; the key of an embedded server"
                    " is in its data folder, in encryption.key."
                ) from error
            raise self._damaged(number) from error

    def _damaged(self, number: int) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path} is damaged: line {number + 1} cannot be decrypted, or the end is"
            " missing. Use another copy."
        )


def _position(digest: str, number: int, *, last: bool) -> str:
    return f"export:{digest}:{number}{':last' if last else ''}"


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written: {error.strerror}.")
