import base64
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from proxy.app.token_sources import TokenSources
from proxy.oauth2.grants import ClientCredentials
from proxy.outbound.client import Outbound
from proxy.settings import Settings, load
from proxy.settings.oauth2 import OAuth2
from tests.support.certificates import Authority
from tests.support.example_settings import CANARY
from tests.support.manual_clock import ManualClock
from tests.support.systems import always, serving

SECRET = "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH__CLIENT_SECRET"


def _client_secret(settings: Settings) -> tuple[str, str]:
    auth = settings.ticket_systems["desk"].auth
    assert isinstance(auth, OAuth2)
    [secret] = auth.client_secret
    return secret.reveal(), secret.source


_token = always(
    200,
    body=b'{"access_token": "t", "token_type": "Bearer", "expires_in": 60}',
    content_type="application/json",
)


@pytest.fixture
def live(timed: Path) -> tuple[Settings, Path]:
    """Settings, and the folder of their secrets."""
    return load(timed, {}), timed.parent / "secrets"


def _by_link(file: Path, text: str) -> None:
    """Replace a file as Kubernetes does: a link into `..data`, itself a link that is swapped."""
    version = file.parent / f"..version-{text}"
    version.mkdir()
    (version / file.name).write_text(text, encoding="utf-8")
    swapped = file.parent / "..data_tmp"
    swapped.symlink_to(version.name)
    swapped.replace(file.parent / "..data")
    if not file.is_symlink():
        file.unlink()
        file.symlink_to(f"..data/{file.name}")


def _in_place(file: Path, text: str) -> None:
    file.write_text(f"{text}\n", encoding="utf-8")


def _by_rename(file: Path, text: str) -> None:
    beside = file.with_name("beside")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


@pytest.mark.parametrize("replace", [_by_link, _in_place, _by_rename])
def test_a_replaced_secret_is_used_within_a_second(
    replace: Callable[[Path, str], None], live: tuple[Settings, Path], clock: ManualClock
) -> None:
    settings, folder = live
    former, _ = _client_secret(settings)
    for secret in ("second", "third"):
        replace(folder / "desk-client-secret", secret)
        assert _client_secret(settings)[0] == former  # not looked at before a second has passed
        clock.advance(1_000)
        assert _client_secret(settings)[0] == secret
        former = secret


def _gone(file: Path) -> None:
    file.unlink()


def _empty(file: Path) -> None:
    file.write_bytes(b"\n")


def _no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfecanary")


def _a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [_gone, _empty, _no_text, _a_folder])
def test_the_last_good_secret_stays_with_one_warning(
    spoil: Callable[[Path], None],
    live: tuple[Settings, Path],
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings, folder = live
    file = folder / "desk-client-secret"
    good = _client_secret(settings)

    spoil(file)
    for _ in range(5):
        clock.advance(1_000)
        assert _client_secret(settings) == good

    [warning] = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert str(file) in warning.getMessage()
    assert "canary" not in caplog.text.replace(str(folder), "")
    if file.is_dir():
        file.rmdir()
    _in_place(file, "repaired")
    clock.advance(1_000)
    assert _client_secret(settings)[0] == "repaired"
    assert "repaired" not in caplog.text


def test_a_secret_replaced_while_it_is_read_for_the_first_time_is_not_missed(
    timed: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is watched before it is read, so that nothing falls between the two."""
    file = timed.parent / "secrets" / "desk-client-secret"
    read = Path.read_bytes

    def replaced_after(path: Path) -> bytes:
        content = read(path)
        if path == file:
            _by_rename(file, "second")
        return content

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Path, "read_bytes", replaced_after)
        settings = load(timed, {})
    clock.advance(1_000)

    assert _client_secret(settings)[0] == "second"


def test_event_secrets_follow_their_files(live: tuple[Settings, Path], clock: ManualClock) -> None:
    settings, folder = live
    event_secrets = settings.ticket_systems["desk"].event_secrets

    _by_rename(folder / "desk-event-secret", "second")
    clock.advance(1_000)

    assert event_secrets() == (b"second",)


async def test_the_next_token_request_carries_the_replaced_secret(
    timed: Path, clock: ManualClock
) -> None:
    async with serving(_token) as server:
        variable = SECRET.replace("CLIENT_SECRET", "TOKEN_URL")
        desk = load(timed, {variable: server.origin}).ticket_systems["desk"]
        assert isinstance(desk.auth, OAuth2)
        async with Outbound(loopback=True) as outbound:
            sources = TokenSources(outbound=outbound, clock=clock, dice=lambda: 0.0, tokens=None)
            endpoint = sources.endpoint("desk", desk, desk.auth)
            await endpoint.ask(ClientCredentials())
            _by_rename(timed.parent / "secrets" / "desk-client-secret", "second")
            clock.advance(1_000)
            await endpoint.ask(ClientCredentials())

    proofs = [base64.b64decode(call.headers["Authorization"][6:]) for call in server.calls]
    assert proofs == [
        f"approval-proxy:{CANARY}-desk-client-secret".encode(),
        b"approval-proxy:second",
    ]


async def test_a_broken_signing_key_leaves_the_former_one(
    timed: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority.found(timed.parent)
    first, second = (authority.client(timed.parent, name).key for name in ("first", "second"))
    texts = [first.read_text(), "canary", "canary", second.read_text()]
    used, file = texts[:1] * 3 + texts[3:], timed.parent / "secrets" / "desk-client-secret"
    file.write_text(texts[0], encoding="utf-8")
    auth = {
        "kind": "oauth2",
        "client_id": "proxy",
        "client_authentication": "private_key_jwt",
        "client_keys": {"key": {"file": str(file)}},
    }
    async with serving(_token) as server, Outbound(loopback=True) as outbound:
        variable = SECRET.removesuffix("__CLIENT_SECRET")
        text = orjson.dumps(auth | {"token_url": server.origin}).decode()
        desk = load(timed, {variable: text}).ticket_systems["desk"]
        assert isinstance(desk.auth, OAuth2)
        sources = TokenSources(outbound=outbound, clock=clock, dice=lambda: 0.0, tokens=None)
        endpoint = sources.endpoint("desk", desk, desk.auth)
        for text in texts:
            _by_rename(file, text)
            clock.advance(1_000)
            await endpoint.ask(ClientCredentials())

    forms = [parse_qs(call.body.decode()) for call in server.calls]
    for form, key in zip(forms, used, strict=True):
        jwt.decode(form["client_assertion"][0], ECKey.import_key(key), ["ES256"])
    [warning] = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert "canary" not in warning.getMessage()
