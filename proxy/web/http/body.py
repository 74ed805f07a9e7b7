"""Reading a request body: never more than its limit, never longer than its timeout."""

import asyncio
from typing import Any

import orjson
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import InvalidRequestError
from proxy.web.http.protocol import send_continue


async def read_body(request: web.Request, *, limit: int, timeout: int) -> bytes:  # noqa: ASYNC109
    """Return the body, at most `limit` bytes, that arrived within `timeout` milliseconds.

    aiohttp never cuts off a slow body, and by itself answers 413 where our contract has 400.

    Raises:
        InvalidRequestError: it is longer, slower, encoded or broken.
    """
    if "Content-Encoding" in request.headers:
        raise InvalidRequestError("Content-Encoding must be absent: send the body as it is")
    if (request.content_length or 0) > limit:
        raise too_long(limit)
    content = request.content
    if content.is_eof():  # the usual case: a small body arrives together with its headers
        body = content.read_nowait(-1)
        if len(body) > limit:
            raise too_long(limit)
        return body
    try:
        async with asyncio.timeout(timeout / 1000):
            await send_continue(request)
            return await _read(content, limit)
    except TimeoutError as error:
        raise InvalidRequestError(f"body did not arrive within {timeout} ms") from error
    except (web.PayloadAccessError, web.RequestPayloadError, HttpProcessingError) as error:
        raise InvalidRequestError("body ended early, or its chunks are broken") from error


async def _read(content: StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await content.readany():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise too_long(limit)
    return b"".join(parts)


def json_object(request: web.Request, body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        InvalidRequestError: the body is not a JSON object.
    """
    if request.content_type != "application/json":
        raise InvalidRequestError("Content-Type must be application/json")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"body is not JSON ({error.msg})") from error
    if not isinstance(value, dict):
        raise InvalidRequestError("body must be a JSON object")
    return value


def too_long(limit: int) -> InvalidRequestError:
    """Return the error for a body over the limit, in bytes."""
    return InvalidRequestError(f"body is longer than {limit} bytes")
