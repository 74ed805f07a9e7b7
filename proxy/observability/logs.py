"""JSON log lines on one stream, written by a thread of their own so that no caller waits for it.

Every line carries the correlation id and the X-Request-ID of what is being worked on, where there
is one. JSON escapes control characters, so nobody can forge a line.
"""

import logging
import re
import select
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import orjson
from typing_extensions import override

correlation_id: Final[ContextVar[str]] = ContextVar("correlation_id", default="")
request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")

_root: Final = logging.getLogger()

MAIN: Final = "main"
"""What a process that has worker processes is called among them, here and in metrics."""

_LARGEST: Final = 8 * 1024 * 1024  # bytes waiting for a reader that stalls; more is dropped
_ENOUGH: Final = 64 * 1024  # bytes that are worth a write at once
_PAUSE: Final = 0.2  # seconds that a line of less than WARNING may wait for others
_PATIENCE: Final = 2.0  # seconds that closing waits for a reader that stalls
_DROPPED: Final = "Log lines were dropped because nobody read this stream"
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
_UNSAFE: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)
"""What JSON lets through and a terminal or an eye takes for something else, in UTF-8: DEL, C1
controls, line separators, marks that turn the direction or show nothing."""
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def about(*, correlation: str = "", request: str = "") -> Iterator[None]:
    """Write these ids on every line logged inside, tasks started there included."""
    outer_correlation, outer_request = correlation_id.set(correlation), request_id.set(request)
    try:
        yield
    finally:
        correlation_id.reset(outer_correlation)
        request_id.reset(outer_request)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time in UTC, level, logger, message, ids, then the extras.

    `process` is on every line, where several write to one stream.
    """

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self.process = {"process": process} if process else {}

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line as text; `Lines` takes the bytes."""
        return self.line(record).decode()

    def line(self, record: logging.LogRecord) -> bytes:
        """Return the line without its end."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.process,
        }
        if correlation := correlation_id.get():
            fields["correlation_id"] = correlation
        if request := request_id.get():
            fields["request_id"] = request
        attributes = vars(record)
        fields |= {name: attributes[name] for name in sorted(attributes.keys() - _USUAL)}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _dumps(fields)


def _dumps(fields: dict[str, Any]) -> bytes:
    line = _json(fields)
    # nearly every line is plain ASCII, which costs much less to see
    return line if line.isascii() and b"\x7f" not in line else _UNSAFE.sub(_escaped, line)


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"".join(b"\\u%04x" % ord(character) for character in match[0].decode())


def _json(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, default=str, option=_OPTIONS)
    except TypeError:  # a lone surrogate, or a number of more than 64 bits: keep what can be kept
        texts = {name: str(value) for name, value in fields.items()}
        return orjson.dumps({k: v.encode(errors="replace").decode() for k, v in texts.items()})


class Lines(logging.Handler):
    """Collects lines; its thread writes them together, at once from WARNING on.

    When the reader of the stream stalls, callers go on and lines beyond 8 MiB are dropped; how
    many is the next line that gets through. A `process` is one of several that write to the
    stream: it writes no more at once than a pipe takes whole (POSIX: PIPE_BUF), so that lines of
    two do not mix.
    """

    def __init__(self, stream: BinaryIO, process: str = "") -> None:
        super().__init__()
        self.formatter: JsonFormatter = JsonFormatter(process)
        self._whole = select.PIPE_BUF if process else _LARGEST
        self._stream = stream
        self._waiting: list[bytes] = []
        self._size = 0
        self._dropped = 0
        # not the handler's own lock: logging holds that one while it calls `close` at exit
        self._queue = threading.Lock()
        self._some, self._urgent = threading.Event(), threading.Event()
        self._closed = False
        self._writer = threading.Thread(target=self._write_all, name="log lines", daemon=True)
        self._writer.start()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line."""
        self._put(self.formatter.line(record), urgent=record.levelno >= logging.WARNING)

    def note(self, logger: str, message: str, fields: dict[str, Any]) -> None:
        """Queue one line at level info without a record, which costs half."""
        line = {
            "time": datetime.now(UTC),
            "level": "info",
            "logger": logger,
            "message": message,
            "correlation_id": correlation_id.get(),
            "request_id": request_id.get(),
            **self.formatter.process,
            **fields,
        }
        self._put(_dumps(line), urgent=False)

    def _put(self, line: bytes, *, urgent: bool) -> None:
        with self._queue:
            if self._closed or self._size + len(line) > _LARGEST:
                self._dropped += 1
                return
            self._waiting.append(line)
            self._size += len(line) + 1
            if (urgent or self._size > _ENOUGH) and not self._urgent.is_set():
                self._urgent.set()
            if len(self._waiting) == 1:
                self._some.set()

    @override
    def close(self) -> None:
        """Write what waits and end the thread; the logging module calls this at exit."""
        self._closed = True
        self._urgent.set()
        self._some.set()
        if threading.current_thread() is not self._writer:
            self._writer.join(_PATIENCE)
        super().close()

    def _write_all(self) -> None:
        while not self._closed or self._waiting:
            self._some.wait()
            self._urgent.wait(_PAUSE)
            lines, dropped = self._take()
            if dropped:
                lines.append(_dumps({"level": "warning", "message": _DROPPED, "lines": dropped}))
            try:
                for whole in _together(lines, self._whole):
                    rest = memoryview(whole)
                    while rest:  # a raw stream may take a part
                        rest = rest[self._stream.write(rest) :]
                    self._stream.flush()
            except (OSError, ValueError):  # nobody reads any more, and there is nowhere to say so
                continue

    def _take(self) -> tuple[list[bytes], int]:
        with self._queue:
            lines, self._waiting, dropped = self._waiting, [], self._dropped
            self._size = self._dropped = 0
            if not self._closed:
                self._some.clear()
                self._urgent.clear()
        return lines, dropped


def _together(lines: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield lines with their ends, as many together as there is room for; at least one."""
    text = bytearray()
    for line in lines:
        if text and len(text) + len(line) >= most:
            yield bytes(text)
            text.clear()
        text += line
        text += b"\n"
    yield bytes(text)


def info(logger: logging.Logger, message: str, fields: dict[str, Any]) -> None:
    """Log a line of the hot path at level info: without a record, where only `Lines` listens."""
    if not logger.isEnabledFor(logging.INFO):
        return
    handlers = _root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], Lines) and not logger.handlers:
        handlers[0].note(logger.name, message, fields)
    else:
        logger.info("%s", message, extra=fields)


def setup(level: str, stream: BinaryIO, process: str = "") -> Lines:
    """Send what this program logs to the stream, from this level on; the rest from WARNING on.

    `process` names this process among several that write to the stream.

    Raises:
        ValueError: there is no such level.
    """
    # what no line shows need not be found out, which is a third of the cost of a record
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as logging's manual has it
    lines = Lines(stream, process)
    root = logging.getLogger()
    for former in tuple(root.handlers):
        root.removeHandler(former)
        former.close()
    root.addHandler(lines)
    own = logging.getLogger("proxy")
    own.setLevel(level.upper())
    root.setLevel(max(logging.WARNING, own.level))
    return lines
