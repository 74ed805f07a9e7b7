"""The file of an export: encrypted line by line, so that it shows whether it is whole.

The first line says in clear what the file is. Every line after it is sealed with the key ring for
its one place: in the file that begins with just this line, at this number, as the last one or not.
So a file that was cut, joined or edited does not open, whoever did it. One line is read or written
at a time, however many requests there are.
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
    """What an export is of: a namespace with so many requests, `at` a moment (ms).

    `id` is the export's own. `changed` has the last entry of each stream of the audit: where the
    store has others, it went on. `layout` is that of the store's keys.
    """

    id: str
    at: int
    namespace: str
    partitions: int
    layout: int
    requests: int
    changed: Mapping[str, str]
    format: int = _FORMAT
    program: str = __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where requests lay before, which the key ring alone shows.

    `placement` is the key that chooses partitions, in base64, None for digests without a key;
    `scattered` says that ids show no more of it than that. `former` are earlier namespaces with
    their numbers of partitions.
    """

    placement: str | None
    scattered: bool
    former: Sequence[tuple[str, int]]

    @property
    def placement_key(self) -> bytes | None:
        """The key that chooses partitions."""
        return None if self.placement is None else base64.b64decode(self.placement)


def refuse_to_overwrite(path: Path) -> None:
    """Raise ConfigurationError if there is a file already."""
    if path.exists():
        raise ConfigurationError(f"{path} is there already. Name another file.")


class ExportWriter:
    """Writes a new file for its owner alone; use it in `with`: what is unfinished is removed."""

    def __init__(self, path: Path, ring: KeyRing, head: Head, origin: Origin) -> None:
        """Begin the file; raises ConfigurationError if it is there, or cannot be made."""
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
        """Write an item, or keep it for the next line; raises ConfigurationError."""
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
        place = _place(self._digest, self._lines, last=last)
        self._file.write(self._ring.seal(plain, name=place) + b"\n")


class ExportFile:
    """An export that is there; its head is what anybody can write until `items` has ended."""

    def __init__(self, path: Path, ring: KeyRing) -> None:
        """Read the head; raises ConfigurationError for what is no export, or a newer one."""
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
            found: Mapping[str, Any] = orjson.loads(first)[_NAME]
            version = int(found["format"])
            head = Head(**found) if version == _FORMAT else None
        except (ValueError, TypeError, KeyError):
            raise ConfigurationError(f"{self._path} is no export of a store.") from None
        if head is None:
            raise ConfigurationError(
                f"{self._path} has format {version}, and this version of the program knows"
                f" {_FORMAT}. Import it with version {found.get('program')}."
            )
        return head

    @property
    def origin(self) -> Origin:
        """What the key ring alone shows; raises as `items` does."""
        return Origin(**next(self._opened()))

    def items(self) -> Iterator[list[Item]]:
        """Yield what a line holds, line by line.

        Raises:
            ConfigurationError: a line is not as it was written, or the last one is not there.
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
            return self._ring.open(sealed, name=_place(self._digest, number, last=last))
        except ConfigurationError as error:
            if name := self._ring.missing(sealed):
                raise ConfigurationError(
                    f"{self._path} was encrypted with the key {name}, which is not in the key ring."
                    " Name it in encryption.keys, below the first one; that of a private server is"
                    " in its folder, in encryption.key."
                ) from error
            raise self._damaged(number) from error

    def _damaged(self, number: int) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path} is not as it was written: it does not open from line {number + 1} on, or"
            " its end is missing. Take another copy."
        )


def _place(digest: str, number: int, *, last: bool) -> str:
    return f"export:{digest}:{number}{':last' if last else ''}"


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written: {error.strerror}.")
