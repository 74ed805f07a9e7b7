"""Each part of the API may listen at a place of its own, and is then nowhere else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy.net.addresses import read_networks
from proxy.observability.metrics import Metrics
from proxy.security.tls import Certificate, ServerTls
from proxy.web.http.connections import BoundedSite, ConnectionLimits, Connections
from proxy.web.http.trusted_proxies import TrustedProxies
from tests.support.certificates import Authority, Pair
from tests.web.conftest import OPERATOR_KEY, Starts

ROUTES: Mapping[str, tuple[str, str]] = {
    "hooks": ("POST", "/approval-requests"),
    "events": ("POST", "/ticket-events/desk"),
    "operators": ("GET", "/api/status"),
    "readiness": ("GET", "/readyz"),
    "metrics": ("GET", "/metrics"),
    "description": ("GET", "/openapi.yaml"),
    "life": ("GET", "/livez"),
}


@pytest.mark.parametrize(
    ("parts", "served"),
    [
        ({"hooks"}, {"hooks", "readiness", "life"}),
        ({"events"}, {"events", "life"}),
        ({"operators"}, {"operators", "readiness", "metrics", "description", "life"}),
        ({"hooks", "events", "operators"}, set(ROUTES)),
    ],
)
async def test_a_listener_serves_its_parts_alone(
    start: Starts, parts: set[str], served: set[str]
) -> None:
    site = await start(parts=parts)
    found = set()
    for name, (method, path) in ROUTES.items():
        answer = await site.call(method, path, key=OPERATOR_KEY, data=None)
        if answer.status not in {404, 405}:
            found.add(name)
    assert found == served


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # nobody's word but their own
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the caller wrote the first
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", '198.51.100.1, <script>"', "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_whom_no_trusted_proxy_stands_for(
    remote: str, forwarded: str, client: str
) -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded})
    asking = request.clone(remote=remote)
    assert TrustedProxies(read_networks(["10.0.0.0/8"])).client(asking) == client
    assert TrustedProxies().client(asking) == remote


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


@asynccontextmanager
async def listening(tls: ServerTls) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    connections = Connections(ConnectionLimits(), TrustedProxies(), lambda _: None)
    site = BoundedSite(runner, "127.0.0.1", 0, ssl_context=tls.context, connections=connections)
    await site.start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def shown(url: str, trusting: Path, own: Pair | None = None) -> str:
    """Return the serial number of the certificate that a listener shows to somebody new."""
    context = ssl.create_default_context(cafile=str(trusting))
    if own:
        context.load_cert_chain(own.certificate, own.key)
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
        assert await answer.text() == "hello"
    return await _serial(url, context)


async def _serial(url: str, context: ssl.SSLContext) -> str:
    port = int(url.rpartition(":")[2].strip("/"))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    serial = str((writer.get_extra_info("peercert") or {})["serialNumber"])
    writer.close()
    await writer.wait_closed()
    return serial


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    now = [0.0]
    authority = Authority.found(tmp_path)
    live = authority.server(tmp_path, "live")
    tls = ServerTls(Certificate(live.certificate, live.key), monotonic=lambda: now[0])
    async with listening(tls) as url:
        first = await shown(url, authority.ca_file)
        renewed = authority.server(tmp_path, "renewed")
        live.certificate.write_bytes(renewed.certificate.read_bytes())
        now[0] += 2
        assert await shown(url, authority.ca_file) == first  # the key is still the former one
        live.key.write_bytes(renewed.key.read_bytes())
        now[0] += 2
        assert await shown(url, authority.ca_file) != first


async def test_a_listener_may_demand_certificates_of_an_authority_that_may_change(
    tmp_path: Path,
) -> None:
    now = [0.0]
    authority, other = Authority.found(tmp_path), Authority.found(tmp_path, "other")
    server, client = authority.server(tmp_path), authority.client(tmp_path)
    stranger = other.client(tmp_path, "stranger")
    believed = tmp_path / "believed.pem"
    believed.write_bytes(authority.ca_file.read_bytes())
    own = Certificate(server.certificate, server.key)
    tls = ServerTls(own, client_ca_file=believed, monotonic=lambda: now[0])
    async with listening(tls) as url:
        await shown(url, authority.ca_file, client)
        for nobody in (None, stranger):
            with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
                await shown(url, authority.ca_file, nobody)
        believed.write_bytes(other.ca_file.read_bytes())
        now[0] += 2
        await shown(url, authority.ca_file, stranger)
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
            await shown(url, authority.ca_file, client)


def test_cut_connections_are_counted() -> None:
    metrics = Metrics()
    metrics.cut.labels("silent").inc()
    assert b'approval_proxy_connections_cut_total{reason="silent"} 1.0' in metrics.text()
