"""JSON log lines on one stream, written by a thread so that no caller waits for the stream.

Every line carries the correlation id and the X-Request-ID of the request being processed, if any.
JSON escapes control characters, so that nobody can forge a line.
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
"""The name, in logs and metrics, of a process that has worker processes."""

_QUEUE_LIMIT: Final = 8 * 1024 * 1024  # bytes waiting for a reader that stalls; more is dropped
_FLUSH_SIZE: Final = 64 * 1024  # bytes that are written at once
_FLUSH_SECONDS: Final = 0.2  # that a line below WARNING may wait for others
_CLOSE_SECONDS: Final = 2.0  # that closing waits for a reader that stalls
_DROPPED: Final = "Log lines were dropped because this stream was not read"
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
_UNSAFE: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)
"""Characters that JSON does not escape and that can mislead a terminal or a reader, in UTF-8:
DEL, C1 controls, line separators, direction marks and invisible characters."""
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
}


@contextmanager
def about(*, correlation: str = "", request: str = "") -> Iterator[None]:
    """Add these ids to every line logged inside, also by tasks started there."""
    outer_correlation, outer_request = correlation_id.set(correlation), request_id.set(request)
    try:
        yield
    finally:
        correlation_id.reset(outer_correlation)
        request_id.reset(outer_request)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time in UTC, level, logger, message, ids, then the extra fields.

    `process` is on every line if several processes write to one stream.
    """

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self.process = {"process": process} if process else {}

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line as text; `Lines` uses the bytes of `line`."""
        return self.line(record).decode()

    def line(self, record: logging.LogRecord) -> bytes:
        """Return the line without the newline."""
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
        fields |= {name: attributes[name] for name in sorted(attributes.keys() - _STANDARD_FIELDS)}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _dumps(fields)


def _dumps(fields: dict[str, Any]) -> bytes:
    line = _json(fields)
    # nearly every line is plain ASCII, and this check is much cheaper than the search
    return line if line.isascii() and b"\x7f" not in line else _UNSAFE.sub(_escaped, line)


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"".join(b"\\u%04x" % ord(character) for character in match[0].decode())


def _json(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, default=str, option=_OPTIONS)
    except TypeError:  # a lone surrogate, or an integer of more than 64 bits
        texts = {name: str(value) for name, value in fields.items()}
        return orjson.dumps({k: v.encode(errors="replace").decode() for k, v in texts.items()})


class Lines(logging.Handler):
    """Queues lines; its thread writes several together, and lines from WARNING on at once.

    When the reader of the stream stalls, callers go on and lines beyond 8 MiB are dropped; the
    next line that is written has their number. With `process`, several processes write to the
    stream: each write is then one that a pipe takes whole (POSIX: PIPE_BUF), so that lines of two
    processes do not mix.
    """

    def __init__(self, stream: BinaryIO, process: str = "") -> None:
        super().__init__()
        self.formatter: JsonFormatter = JsonFormatter(process)
        self._write_size = select.PIPE_BUF if process else _QUEUE_LIMIT
        self._stream = stream
        self._waiting: list[bytes] = []
        self._size = 0
        self._dropped = 0
        # not the handler's own lock, which logging holds while it calls `close` at exit
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
        """Queue one line at level info without a log record, at half the cost."""
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
            if self._closed or self._size + len(line) > _QUEUE_LIMIT:
                self._dropped += 1
                return
            self._waiting.append(line)
            self._size += len(line) + 1
            if (urgent or self._size > _FLUSH_SIZE) and not self._urgent.is_set():
                self._urgent.set()
            if len(self._waiting) == 1:
                self._some.set()

    @override
    def close(self) -> None:
        """Write the queued lines and end the thread; the logging module calls this at exit."""
        self._closed = True
        self._urgent.set()
        self._some.set()
        if threading.current_thread() is not self._writer:
            self._writer.join(_CLOSE_SECONDS)
        super().close()

    def _write_all(self) -> None:
        while not self._closed or self._waiting:
            self._some.wait()
            self._urgent.wait(_FLUSH_SECONDS)
            lines, dropped = self._take()
            if dropped:
                lines.append(_dumps({"level": "warning", "message": _DROPPED, "lines": dropped}))
            try:
                for chunk in _join(lines, self._write_size):
                    rest = memoryview(chunk)
                    while rest:  # a raw stream may write only a part
                        rest = rest[self._stream.write(rest) :]
                    self._stream.flush()
            except (OSError, ValueError):  # the reader has gone, and there is nowhere to report it
                continue

    def _take(self) -> tuple[list[bytes], int]:
        with self._queue:
            lines, self._waiting, dropped = self._waiting, [], self._dropped
            self._size = self._dropped = 0
            if not self._closed:
                self._some.clear()
                self._urgent.clear()
        return lines, dropped


def _join(lines: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield lines with newlines, as many together as fit into the limit; at least one."""
    text = bytearray()
    for line in lines:
        if text and len(text) + len(line) >= limit:
            yield bytes(text)
            text.clear()
        text += line
        text += b"\n"
    yield bytes(text)


def info(logger: logging.Logger, message: str, fields: dict[str, Any]) -> None:
    """Log a line of the hot path at level info: without a record if `Lines` is the only handler."""
    if not logger.isEnabledFor(logging.INFO):
        return
    handlers = _root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], Lines) and not logger.handlers:
        handlers[0].note(logger.name, message, fields)
    else:
        logger.info("%s", message, extra=fields)


def setup(level: str, stream: BinaryIO, process: str = "") -> Lines:
    """Write the log of this program to the stream from this level on, of libraries from WARNING on.

    `process` names this process among several that write to the stream.

    Raises:
        ValueError: the level does not exist.
    """
    # fields that no line shows are not collected, which saves a third of the cost of a record
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the manual of logging recommends it
    lines = Lines(stream, process)
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.addHandler(lines)
    own = logging.getLogger("proxy")
    own.setLevel(level.upper())
    root.setLevel(max(logging.WARNING, own.level))
    return lines
