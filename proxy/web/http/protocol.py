"""The limits of HTTP itself, and the log lines of aiohttp about requests that it cannot parse."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

SERVER: Final = "approval-proxy"
"""The header `Server` (RFC 9110 10.2.4): aiohttp would name its version and Python's."""

_log: Final = logging.getLogger(__name__)


def _without_headers(record: logging.LogRecord) -> bool:
    """Reduce aiohttp's log line about an unparseable request to the kind of error, at level info.

    aiohttp logs the line that it could not parse, which may hold a key; and invalid requests must
    not fill the log with tracebacks.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info = None
        record.msg = f"{record.msg}: {type(error).__name__}"
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def limits() -> Mapping[str, Any]:
    """Return the parameters of aiohttp's protocol; times in seconds, sizes in bytes."""
    _log.addFilter(_without_headers)
    return {
        "keepalive_timeout": 75.0,  # longer than the 60 of usual load balancers before us
        "lingering_time": 1.0,  # for the rest of a body that nobody reads
        "max_line_size": 8_190,
        "max_field_size": 8_190,
        "max_headers": 100,
        "read_bufsize": 32_768,  # at most twice this is buffered of a body that is not read yet
        "auto_decompress": False,  # a small body could become a large one
        "access_log": None,  # `middleware` writes ours
        "logger": _log,
    }


async def expect_nothing(_request: web.Request) -> None:
    """Do not answer `Expect: 100-continue` here: aiohttp would do so before authentication."""


async def send_continue(request: web.Request) -> None:
    """Send `100 Continue` if the client waits for it before it sends the body (RFC 9110 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp does: the response has not begun
