"""One HTTP exchange: aiohttp's connections, writer and parser, without its session.

A session does for every call what no destination needs: redirects, cookies, forms, traces, and the
headers and the connection key once more. That was more than half of the cost of a call (100 µs,
now 40, measured), and a quarter of a step. What all calls to an origin have in common is made once
(`origin`); the connector still decides which addresses may be connected to.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import hdrs
from aiohttp.http import HttpProcessingError, StreamWriter
from multidict import CIMultiDict
from yarl import URL

from proxy import __version__
from proxy.outbound.guarded_connector import Connector

FAILURES: Final = (aiohttp.ClientError, HttpProcessingError, OSError)
"""Errors of `exchange` for no answer, or one that HTTP does not allow."""

_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None)  # the caller has a deadline over everything
_AGENT: Final = {hdrs.USER_AGENT: f"approval-proxy/{__version__}"}
_EMPTY: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
"""Methods that need no Content-Length for an absent body; others send 0 (RFC 9110 8.6)."""

Answered = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body of an answer."""


def origin(url: URL, trust: ssl.SSLContext, proxy: str | None) -> aiohttp.ClientRequest:
    """Return what all calls to the URL's origin have in common: address, TLS, proxy and headers.

    It belongs to the running event loop.
    """
    return aiohttp.ClientRequest(
        hdrs.METH_GET,
        url.origin(),
        headers=_AGENT,
        loop=asyncio.get_running_loop(),
        ssl=trust,
        proxy=URL(proxy) if proxy else None,
    )


async def exchange(
    connector: Connector,
    common: aiohttp.ClientRequest,
    url: URL,
    *,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
    limit: int,
) -> Answered:
    """Send one call and return its answer, with at most `limit` bytes of the body.

    Raises `FAILURES` for no answer, and ValueError, with nothing sent, for a forbidden header.
    """
    connection = await connector.connect(common, traces=[], timeout=_NO_LIMIT)
    protocol = connection.protocol
    assert protocol is not None  # which it is once the connection is given back
    try:
        for _ in range(2):
            # a process that was stopped until now has deadlines that have passed: let them fire, so
            # that nothing is sent. A due timer runs after what is ready, so one turn is not enough
            await asyncio.sleep(0)
        protocol.set_response_params(skip_payload=method == hdrs.METH_HEAD, read_until_eof=True)
        writer = StreamWriter(protocol, common.loop)
        merged = _merged(common, headers, method, body)
        await writer.write_headers(f"{method} {_target(common, url)} HTTP/1.1", merged)
        if body:
            await writer.write(body, drain=False)  # an answer may come before all of it is read
        writer.set_eof()
        answer, content = await protocol.read()
        while answer.code < 200 and answer.code != 101:  # noqa: PLR2004 - interim (RFC 9110 15.2)
            answer, content = await protocol.read()
        received = await _up_to(limit, content)
        if protocol.transport is None or protocol.transport.get_write_buffer_size():
            connection.close()  # not all of the call was sent
    except BaseException:
        connection.close()
        raise
    connection.release()
    return answer.code, answer.headers, received


def _merged(
    common: aiohttp.ClientRequest, headers: Mapping[str, str], method: str, body: bytes | None
) -> CIMultiDict[str]:
    """Return the headers of one call: the common ones, its own, and the length of its body."""
    merged = CIMultiDict(common.headers)
    merged.update(headers)
    if body is not None or method not in _EMPTY:
        merged[hdrs.CONTENT_LENGTH] = str(len(body or b""))
    return merged


def _target(common: aiohttp.ClientRequest, url: URL) -> str:
    """Return the absolute URL for a plain-text call through a proxy, else path and query."""
    if common.proxy and not common.is_ssl():
        return str(url.with_fragment(None))
    return url.raw_path_qs


async def _up_to(size: int, content: aiohttp.StreamReader) -> bytes:
    """Return the body, or its first `size` bytes if it is longer."""
    if content.is_eof():  # nearly always: a small answer arrives together with its headers
        return content.read_nowait(-1)[:size]
    try:
        return await content.readexactly(size)
    except asyncio.IncompleteReadError as error:
        return error.partial
