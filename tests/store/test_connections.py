"""TLS to Redis, before a real server: what is not proven is not spoken to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from urllib.parse import urlsplit

import pytest

from proxy.errors import StoreUnavailableError
from proxy.store.client.connections import connect
from proxy.store.requests import RequestStore
from tests.support.certificates import HERE, Authority


@dataclass
class Before:
    """A listener that ends TLS before the server; `heard` is what clients said to the server."""

    port: int = 0
    heard: bytes = b""


@asynccontextmanager
async def tls_before(redis_url: str, context: SSLContext) -> AsyncIterator[Before]:
    before = Before()
    path = urlsplit(redis_url).path

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)

        async def relay(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while said := await source.read(65_536):
                    before.heard += said if source is reader else b""
                    to.write(said)
                    await to.drain()
            to.close()

        await asyncio.gather(relay(reader, inner_writer), relay(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        before.port = server.sockets[0].getsockname()[1]
        yield before


async def asked(url: str) -> int:
    client = connect(url)
    store = RequestStore(client, namespace="tls", partitions=1)
    try:
        return await store.now()
    finally:
        await store.batcher.close()
        await client.aclose()


async def test_a_server_whose_certificate_is_believed_is_used(
    redis_url: str, tmp_path: Path
) -> None:
    authority = Authority.found(tmp_path)
    context = authority.server(tmp_path).server()
    async with tls_before(redis_url, context) as before:
        url = f"rediss://127.0.0.1:{before.port}?ssl_ca_certs={authority.ca_file}"
        assert await asked(url) > 0
        assert b"TIME" in before.heard


@pytest.mark.parametrize("wrong", ["authority", "host"])
async def test_a_server_that_cannot_prove_itself_hears_nothing(
    redis_url: str, tmp_path: Path, wrong: str
) -> None:
    authority = Authority.found(tmp_path)
    hosts = ("redis.example",) if wrong == "host" else HERE
    context = authority.server(tmp_path, hosts=hosts).server()
    async with tls_before(redis_url, context) as before:
        believed = f"?ssl_ca_certs={authority.ca_file}" if wrong == "host" else ""
        with pytest.raises(StoreUnavailableError):
            await asked(f"rediss://:secret@127.0.0.1:{before.port}{believed}")
        assert before.heard == b""


async def test_unverified_it_would_hear_all(redis_url: str, tmp_path: Path) -> None:
    """The negative control; the settings refuse such a URL."""
    context = Authority.found(tmp_path).server(tmp_path).server()
    async with tls_before(redis_url, context) as before:
        assert await asked(f"rediss://127.0.0.1:{before.port}?ssl_cert_reqs=none") > 0
        assert b"TIME" in before.heard
