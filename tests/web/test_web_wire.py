"""HTTP itself: requests that cannot be read, and callers that ask before they send."""

import asyncio
import uuid

import pytest

from tests.web.conftest import CALLBACK, WITBOOST_KEY, Collected, Site

BODY = b'{"respondToUrl": "%s1", "fields": {}}' % CALLBACK.encode()


async def _ask(site: Site, *lines: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    assert site.base.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", site.base.port)
    writer.write(b"\r\n".join([b"POST / HTTP/1.1", b"Host: approval", *lines, b"", b""]))
    return reader, writer


@pytest.mark.parametrize(
    "line",
    [
        b"X-API-Key: canary\x01",
        b"X-API-Key: " + b"canary" * 3_000,
        b"canary",
        b"Content-Length: canary",
        b"\r\n".join(b"X-%d: canary" % number for number in range(200)),
    ],
)
async def test_what_cannot_be_read_is_a_400_and_stays_out_of_the_log(
    site: Site, logged: Collected, line: bytes
) -> None:
    reader, writer = await _ask(site, line)
    everything = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert everything.split(b" ", 2)[1] == b"400"
    assert b"canary" not in logged.text
    assert any(line["logger"] == "proxy.web.http.protocol" for line in logged.lines)
    assert all(line["level"] in {"debug", "info"} for line in logged.lines)
    assert not any("exception" in line for line in logged.lines)


async def _expecting(site: Site, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await _ask(
        site,
        b"X-API-Key: " + key.encode(),
        b"X-Request-ID: " + str(uuid.uuid4()).encode(),
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(BODY),
        b"Expect: 100-continue",
    )


async def test_a_caller_that_asks_before_it_sends_is_let_in(site: Site) -> None:
    reader, writer = await _expecting(site, WITBOOST_KEY)
    interim = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(BODY)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 202 ")
    writer.close()


async def test_a_stranger_that_asks_is_refused_before_it_sends(site: Site) -> None:
    reader, writer = await _expecting(site, "ap_unknown")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 401 ")
    writer.close()


@pytest.mark.parametrize("path", ["/", "/livez", "/console/", "/nowhere"])
async def test_no_answer_says_what_we_are_made_of(site: Site, path: str) -> None:
    async with site.session.get(site.base.with_path(path)) as response:
        pass
    assert response.headers["Server"] == "approval-proxy"
