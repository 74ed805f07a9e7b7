import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.errors import ConfigurationError, PermanentError, TemporaryError
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential, StaticHeader
from proxy.outbound.responses import Call
from tests.support.systems import System, always, fine, serving, towards


@dataclass
class Renewable:
    """A credential that counts and can renew itself as often as it is told."""

    renewals: int
    given: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    async def headers(self, url: str, method: str = "") -> Mapping[str, str]:
        assert url
        assert method
        self.given.append(f"token-number-{len(self.dropped)}")
        return {"Authorization": f"Bearer {self.given[-1]}"}

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        assert url
        assert status
        assert "Date" in headers
        return False

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        self.dropped.append(headers["Authorization"].removeprefix("Bearer "))
        return len(self.dropped) <= self.renewals


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with serving() as system:
        yield system


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(loopback=True, dice=lambda: 0.0) as outbound:
        yield outbound


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "http://localhost:{port}/x",
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}@evil.example/x",
        "http://user:secret@127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}\\@evil.example/x",
        "http://evil.example/http://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/\r\nX-Evil: 1",
        "http://127.0.0.1:{port}/with space",
        "http://127.0.0.1:notaport/",
        "//127.0.0.1:{port}/x",
        "ftp://127.0.0.1:{port}/x",
        "",
    ],
)
async def test_no_other_origin_ever_gets_the_credential(
    outbound: Outbound, system: System, url: str
) -> None:
    credential = Renewable(renewals=1)
    desk = towards(outbound, system.origin, credential=credential)
    target = url.format(port=system.origin.rpartition(":")[2])
    with pytest.raises(ConfigurationError) as caught:
        await desk.send(Call("GET", target), repeatable=True)
    assert "secret" not in str(caught.value)
    assert credential.given == []
    assert system.calls == []


async def test_a_refused_token_is_renewed_once_and_the_call_repeated(
    outbound: Outbound, system: System
) -> None:
    async def only_fresh(request: web.Request) -> web.StreamResponse:
        fresh = request.headers["Authorization"].endswith("-1")
        return web.Response(status=200 if fresh else 401)

    system.respond = only_fresh
    credential = Renewable(renewals=1)
    desk = towards(outbound, system.origin, credential=credential)
    answer = await desk.send(Call("POST", f"{system.origin}/x", body=b"same"), repeatable=False)
    assert answer.status == 200
    assert credential.dropped == ["token-number-0"]
    assert [call.body for call in system.calls] == [b"same", b"same"]


async def test_a_second_refusal_is_returned_without_a_loop(
    outbound: Outbound, system: System
) -> None:
    system.respond = always(403)
    credential = Renewable(renewals=9)
    desk = towards(outbound, system.origin, credential=credential, renew_on=frozenset({401, 403}))
    answer = await desk.send(Call("POST", f"{system.origin}/x"), repeatable=False)
    assert answer.status == 403
    assert len(system.calls) == 2
    assert len(credential.dropped) == 1


@pytest.mark.parametrize(("status", "renewals"), [(403, 1), (401, 0)])
async def test_no_renewal_where_it_cannot_help(
    outbound: Outbound, system: System, status: int, renewals: int
) -> None:
    system.respond = always(status)
    desk = towards(outbound, system.origin, credential=Renewable(renewals=renewals))
    answer = await desk.send(Call("POST", f"{system.origin}/x"), repeatable=False)
    assert (answer.status, len(system.calls)) == (status, 1)


async def test_an_answer_that_is_too_long_is_not_read_on(
    outbound: Outbound, system: System
) -> None:
    desk = towards(outbound, system.origin, answer_limit=1_000)
    call = Call("POST", f"{system.origin}/x")
    system.respond = always(200, body=b"x" * 1_000)
    assert len((await desk.send(call, repeatable=False)).body) == 1_000
    system.respond = always(200, body=b"x" * 1_001)
    with pytest.raises(TemporaryError, match="longer than 1000 bytes") as caught:
        await desk.send(call, repeatable=True)
    assert caught.value.maybe_sent
    assert len(system.calls) == 2
    system.respond = always(404, body=b"x" * 1_000_000)
    assert (await desk.send(call, repeatable=False)).status == 404


async def test_an_error_that_repeats_our_secrets_comes_back_without_them(
    outbound: Outbound, system: System
) -> None:
    system.respond = always(401, body=b"bad: canary-token canary-password")
    desk = towards(
        outbound,
        system.origin,
        credential=StaticHeader("Authorization", lambda: "Bearer canary-token"),
    )
    call = Call("POST", f"{system.origin}/x", secrets=("canary-password",))
    assert (await desk.send(call, repeatable=False)).body == b"bad: *** ***"


async def test_a_header_that_http_forbids_is_refused_without_showing_it(
    outbound: Outbound, system: System
) -> None:
    desk = towards(
        outbound, system.origin, credential=StaticHeader("X", lambda: "canary\r\nEvil: 1")
    )
    with pytest.raises(PermanentError) as caught:
        await desk.send(Call("POST", f"{system.origin}/x"), repeatable=False)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert system.calls == []


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    day = timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - day)
        .not_valid_after(datetime.now(UTC) + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = tmp_path / "ca.pem", tmp_path / "key.pem"
    ca_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    return ca_file, context


async def test_a_certificate_that_nobody_vouches_for_is_a_matter_of_configuration(
    outbound: Outbound, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    ca_file, context = certificate
    app = web.Application()
    app.router.add_get("/", fine)
    server = TestServer(app, host="localhost")
    await server.start_server(ssl=context)
    origin = f"https://localhost:{server.port}"
    call = Call("GET", f"{origin}/")
    with pytest.raises(ConfigurationError, match="ca_file"):
        await towards(outbound, origin).send(call, repeatable=True)
    trusting = outbound.destination(
        "desk",
        origins=[origin],
        deadline=10_000,
        concurrency=1,
        credential=NoCredential(),
        ca_file=ca_file,
    )
    assert (await trusting.send(call, repeatable=True)).status == 200
    await server.close()


def test_a_missing_ca_file_and_a_bad_origin_are_named() -> None:
    outbound = Outbound(loopback=True)
    with pytest.raises(ConfigurationError, match="desk"):
        towards(outbound, "not an origin")
    with pytest.raises(ConfigurationError, match="ca_file"):
        outbound.destination(
            "desk",
            origins=[],
            deadline=1,
            concurrency=1,
            credential=NoCredential(),
            ca_file=Path("missing.pem"),
        )


async def test_a_call_outside_of_serving_says_so() -> None:
    desk = towards(Outbound(loopback=True), "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="not open"):
        await desk.send(Call("GET", "http://127.0.0.1:1/"), repeatable=True)


def test_representations_show_no_secret() -> None:
    call = Call("GET", "http://u:canary@h/p?q=canary", {"A": "canary"}, b"canary", ("canary",))
    assert repr(call) == "Call(GET http://h/p)"
    assert "canary" not in repr(StaticHeader("A", lambda: "canary"))
