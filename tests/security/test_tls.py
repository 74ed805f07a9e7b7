import logging
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from proxy.errors import ConfigurationError, ProxyError
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call
from proxy.security.tls import Certificate, Tls
from tests.support.certificates import Authority
from tests.support.manual_clock import ManualClock

SECOND = 1_000


@dataclass(frozen=True)
class Material:
    """The proxy's files, which an operator or a mounted volume replaces."""

    folder: Path
    issuer: Authority

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def own(self) -> Certificate:
        return Certificate(self.folder / "tls.crt", self.folder / "tls.key")

    def install(self, authority: Authority, name: str) -> None:
        """Install the certificate of an authority, and a certificate and key that it issues."""
        fresh = self.folder / name
        fresh.mkdir()
        pair = authority.client(fresh, name)
        shutil.copy(authority.ca_file, fresh / "ca.pem")
        for source, target in (
            (fresh / "ca.pem", self.ca_file),
            (pair.certificate, self.own.certificate),
            (pair.key, self.own.key),
        ):
            source.replace(target)

    def tls(self, clock: ManualClock) -> Tls:
        return Tls(self.ca_file, self.own, monotonic=lambda: clock.monotonic() / 1_000)


@pytest.fixture
def old(tmp_path: Path) -> Authority:
    return Authority.found(tmp_path, "old-authority")


@pytest.fixture
def new(tmp_path: Path) -> Authority:
    return Authority.found(tmp_path, "new-authority")


@pytest.fixture
def material(tmp_path: Path, old: Authority) -> Material:
    folder = tmp_path / "mounted"
    folder.mkdir()
    material = Material(folder, old)
    material.install(old, "first")
    return material


@asynccontextmanager
async def demanding(authority: Authority, folder: Path) -> AsyncIterator[str]:
    """Run a server that has, and demands, a certificate of this authority."""

    async def name(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        return web.Response(text=dict(part for row in subject for part in row)["commonName"])

    app = web.Application()
    app.router.add_get("/", name)
    issued = authority.server(folder, f"server-of-{authority.ca_file.stem}")
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=issued.server(authority.ca_file))
    try:
        yield f"https://127.0.0.1:{server.port}"
    finally:
        await server.close()


async def name_seen(desk: Destination, origin: str) -> str:
    answer = await desk.send(Call("GET", f"{origin}/"), repeatable=False)
    return answer.body.decode()


@pytest.fixture
async def origin(old: Authority, tmp_path: Path) -> AsyncIterator[str]:
    async with demanding(old, tmp_path) as origin:
        yield origin


@asynccontextmanager
async def destination(
    material: Material, clock: ManualClock, *origins: str
) -> AsyncIterator[Destination]:
    async with Outbound(loopback=True, monotonic=lambda: clock.monotonic() / 1_000) as outbound:
        yield outbound.destination(
            "desk",
            origins=origins,
            deadline=10_000,
            concurrency=2,
            credential=NoCredential(),
            ca_file=material.ca_file,
            client_certificate=material.own,
        )


async def test_replaced_certificates_and_authorities_are_used_without_a_restart(
    material: Material, old: Authority, new: Authority, tmp_path: Path, clock: ManualClock
) -> None:
    async with (
        demanding(old, tmp_path) as before,
        demanding(new, tmp_path) as after,
        destination(material, clock, before, after) as desk,
    ):
        assert await name_seen(desk, before) == "first"
        with pytest.raises(ConfigurationError, match="not trusted"):
            await name_seen(desk, after)

        material.install(new, "second")
        with pytest.raises(ConfigurationError, match="not trusted"):
            await name_seen(desk, after)  # not checked before a second has passed
        clock.advance(SECOND)

        assert await name_seen(desk, after) == "second"
        with pytest.raises(ConfigurationError, match="not trusted"):
            await name_seen(desk, before)


async def test_only_our_certificate_is_replaced_while_the_server_stays(
    material: Material, origin: str, new: Authority, tmp_path: Path, clock: ManualClock
) -> None:
    async with destination(material, clock, origin) as desk:
        strange = new.client(tmp_path, "stranger")
        shutil.copy(strange.certificate, material.own.certificate)
        shutil.copy(strange.key, material.own.key)
        clock.advance(SECOND)
        with pytest.raises(ProxyError):
            await name_seen(desk, origin)

        material.install(material.issuer, "second")
        clock.advance(SECOND)

        assert await name_seen(desk, origin) == "second"


def _empty(material: Material) -> Path:
    material.own.certificate.write_bytes(b"")
    return material.own.certificate


def _no_pem(material: Material) -> Path:
    material.ca_file.write_text("canary", encoding="utf-8")
    return material.ca_file


def _gone(material: Material) -> Path:
    material.own.key.unlink()
    return material.own.key


def _of_another_certificate(material: Material) -> Path:
    other = Authority.found(material.folder, "other").client(material.folder)
    other.key.replace(material.own.key)
    return material.own.key


def _with_a_passphrase(material: Material) -> Path:
    key = load_pem_private_key(material.own.key.read_bytes(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary")
    )
    material.own.key.write_bytes(locked)
    return material.own.key


BROKEN = [_empty, _no_pem, _gone, _of_another_certificate, _with_a_passphrase]


@pytest.mark.parametrize("breaking", BROKEN)
async def test_broken_material_is_not_used_until_it_is_repaired(
    breaking: Callable[[Material], Path],
    material: Material,
    origin: str,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with destination(material, clock, origin) as desk:
        broken = breaking(material)
        for _ in range(5):
            clock.advance(SECOND)
            assert await name_seen(desk, origin) == "first"

        [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert str(broken) in warning.getMessage()
        assert "canary" not in caplog.text

        material.install(material.issuer, "second")
        clock.advance(SECOND)
        assert await name_seen(desk, origin) == "second"


@pytest.mark.parametrize("breaking", BROKEN)
def test_broken_material_is_refused_at_the_start(
    breaking: Callable[[Material], Path], material: Material
) -> None:
    breaking(material)

    with pytest.raises(ConfigurationError, match="client_certificate"):
        Outbound(loopback=True).destination(
            "desk",
            origins=["https://desk.example.com"],
            deadline=1,
            concurrency=1,
            credential=NoCredential(),
            ca_file=material.ca_file,
            client_certificate=material.own,
        )


def test_a_certificate_and_its_key_may_come_one_after_the_other(
    material: Material, old: Authority, tmp_path: Path, clock: ManualClock
) -> None:
    tls, pair = material.tls(clock), old.client(tmp_path, "second")
    first = tls.context()

    pair.certificate.replace(material.own.certificate)
    clock.advance(SECOND)
    assert tls.context() is first
    pair.key.replace(material.own.key)
    clock.advance(SECOND)

    assert tls.context() is not first


def test_unchanged_files_keep_the_context_and_with_it_the_connections(
    material: Material, clock: ManualClock
) -> None:
    tls = material.tls(clock)
    first = tls.context()

    clock.advance(60 * SECOND)

    assert tls.context() is first


def test_nothing_below_tls_1_2_and_nothing_unverified(
    material: Material, clock: ManualClock
) -> None:
    for context in (Tls().context(), material.tls(clock).context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
