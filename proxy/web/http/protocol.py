"""The limits of HTTP itself, and what aiohttp may say about a request that it cannot read."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

SERVER: Final = "approval-proxy"
"""What we call ourselves (RFC 9110 10.2.4): aiohttp would tell its version and Python's."""

_log: Final = logging.getLogger(__name__)


def _without_headers(record: logging.LogRecord) -> bool:
    """Keep the kind of mistake alone: aiohttp logs the line that it could not parse, and with it
    perhaps a key; and whoever sends nonsense must not fill the log with tracebacks.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info = None
        record.msg = f"{record.msg}: {type(error).__name__}"
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def limits() -> Mapping[str, Any]:
    """Return what aiohttp's protocol is told; times in seconds, sizes in bytes."""
    _log.addFilter(_without_headers)
    return {
        "keepalive_timeout": 75.0,  # longer than the 60 of usual load balancers before us
        "lingering_time": 1.0,  # for the rest of a body that nobody reads
        "max_line_size": 8_190,
        "max_field_size": 8_190,
        "max_headers": 100,
        "read_bufsize": 32_768,  # of a body that nobody has asked for yet, twice this at the most
        "auto_decompress": False,  # a small body could become a large one
        "access_log": None,  # ours is in `frame`
        "logger": _log,
    }


async def expect_nothing(_request: web.Request) -> None:
    """Leave `Expect: 100-continue` to `welcome`: aiohttp would answer before anybody is known."""


async def welcome(request: web.Request) -> None:
    """Let a caller that asked first send its body (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp does: the answer has not begun
