"""One HTTP exchange: aiohttp's connections, writer and parser, without its session.

For every call, a session does what no destination asks for: redirects, cookies, forms, traces, and
the headers and the connection's name once more. That was more than half of what a call cost (100 µs
and now 40, measured), and a quarter of a step. What all calls to an origin have in common is made
once; who may be connected to, and how, is the connector's matter as before.
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
"""What `exchange` raises where there is no answer, or none that HTTP allows."""

_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None)  # whoever calls has a deadline over everything
_AGENT: Final = {hdrs.USER_AGENT: f"approval-proxy/{__version__}"}
_EMPTY: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
"""Methods by which an absent body means none; elsewhere its length is told (RFC 9110 8.6)."""

Answered = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body of an answer."""


def origin(url: URL, trust: ssl.SSLContext, proxy: str | None) -> aiohttp.ClientRequest:
    """Return what all calls to the URL's origin have in common: where, by what trust, what headers.

    Called by a running loop, as it belongs to one.
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
    """Send one call and return its answer, of the body at most `limit` bytes.

    The connection is used again only where both were sent whole.

    Raises:
        FAILURES: there is no answer.
        ValueError: a header that HTTP forbids; nothing was sent.
    """
    connection = await connector.connect(common, traces=[], timeout=_NO_LIMIT)
    protocol = connection.protocol
    assert protocol is not None  # which it is once the connection is given back
    try:
        for _ in range(2):
            # who was stopped until now has deadlines that are over: they are heard, and nothing is
            # sent. A timer that is due runs behind what is ready, so one turn is not enough
            await asyncio.sleep(0)
        protocol.set_response_params(skip_payload=method == hdrs.METH_HEAD, read_until_eof=True)
        given = CIMultiDict(common.headers)
        given.update(headers)
        if body is not None or method not in _EMPTY:
            given[hdrs.CONTENT_LENGTH] = str(len(body or b""))
        through = common.proxy and not common.is_ssl()
        target = str(url.with_fragment(None)) if through else url.raw_path_qs
        writer = StreamWriter(protocol, common.loop)
        await writer.write_headers(f"{method} {target} HTTP/1.1", given)
        if body:
            await writer.write(body, drain=False)  # an answer may come before all of it is read
        writer.set_eof()
        answer, content = await protocol.read()
        while answer.code < 200 and answer.code != 101:  # noqa: PLR2004 - interim (RFC 9110 15.2)
            answer, content = await protocol.read()
        found = await _up_to(limit, content)
        if protocol.transport is None or protocol.transport.get_write_buffer_size():
            connection.close()
    except BaseException:
        connection.close()
        raise
    connection.release()
    return answer.code, answer.headers, found


async def _up_to(size: int, content: aiohttp.StreamReader) -> bytes:
    """Return what comes, or its first bytes where it is longer."""
    if content.is_eof():  # as good as always: a small answer comes together with its headers
        return content.read_nowait(-1)[:size]
    try:
        return await content.readexactly(size)
    except asyncio.IncompleteReadError as error:
        return error.partial
