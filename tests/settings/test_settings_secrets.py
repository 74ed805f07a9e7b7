from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.settings import Settings, explain, load
from proxy.settings.oauth2 import OAuth2
from proxy.settings.secrets import MASK
from tests.support.example_settings import CANARY
from tests.support.settings_errors import without_places

SECRET = "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH__CLIENT_SECRET"


def _client_secret(settings: Settings) -> tuple[str, str]:
    auth = settings.ticket_systems["desk"].auth
    assert isinstance(auth, OAuth2)
    [secret] = auth.client_secret
    return secret.reveal(), secret.source


def _row(settings: Settings, key: str) -> tuple[str, str]:
    [(value, origin)] = [
        (value, origin) for name, value, origin in explain(settings) if name == key
    ]
    return value, origin


def test_a_secret_is_read_from_a_file_without_its_line_end(example: Path, tmp_path: Path) -> None:
    kept = tmp_path / "secrets" / "desk-client-secret"
    for written in ("s p \n", "s p \r\n", "s p "):
        kept.write_text(written, encoding="utf-8", newline="")
        assert _client_secret(load(example, {})) == ("s p ", f"file {kept}")


def test_a_secret_is_read_from_a_variable(example: Path) -> None:
    environ = {SECRET: '{"env": "DESK_SECRET"}', "DESK_SECRET": "from-there"}

    assert _client_secret(load(example, environ)) == ("from-there", "environment DESK_SECRET")


def test_a_secret_variable_may_begin_like_ours(example: Path) -> None:
    environ = {SECRET: '{"env": "APPROVAL_PROXY_DESK"}', "APPROVAL_PROXY_DESK": "from-there"}

    assert _client_secret(load(example, environ))[0] == "from-there"


def test_a_secret_can_be_written_down(example: Path) -> None:
    assert _client_secret(load(example, {SECRET: "plain"})) == ("plain", "")


def test_a_table_tells_where_a_secret_is_kept(example: Path, tmp_path: Path) -> None:
    key = "ticket_systems.desk.auth.client_secret.0"

    from_file = _row(load(example, {}), key)
    written = _row(load(example, {SECRET: "plain"}), key)

    kept = tmp_path / "secrets" / "desk-client-secret"
    assert from_file == (f"{MASK} (from file {kept})", f"file {example}")
    assert written == (MASK, f"environment {SECRET}")


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_holds_no_secret_is_an_error(
    content: bytes, example: Path, tmp_path: Path
) -> None:
    (tmp_path / "secrets" / "desk-client-secret").write_bytes(content)

    with pytest.raises(SettingsError) as refusal:
        load(example, {})

    [problem] = without_places(refusal.value.problems)
    assert problem.startswith("ticket_systems.desk.auth.client_secret.0: ")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        (f"redis://:{CANARY}@redis:6379/0", f"redis://{MASK}@redis:6379/0"),
        (
            f"redis+sentinel://:{CANARY}@one:26379,two:26379/approvals/2?sentinel_password={CANARY}",
            f"redis+sentinel://{MASK}@one:26379,two:26379/approvals/2?{MASK}",
        ),
        (f"rediss+cluster://:{CANARY}@one:1,two:2", f"rediss+cluster://{MASK}@one:1,two:2"),
        (f"rediss://user:{CANARY}@redis", f"rediss://{MASK}@redis"),
        (f"unix://:{CANARY}@/run/redis.sock?db=1", f"unix://{MASK}@/run/redis.sock?{MASK}"),
        (f"redis://redis?password={CANARY}", f"redis://redis?{MASK}"),
    ],
)
def test_the_url_of_the_store_is_shown_without_its_password(
    url: str, shown: str, example: Path
) -> None:
    settings = load(example, {"APPROVAL_PROXY__STORE__REDIS_URL": url})

    assert settings.store.redis_url is not None
    assert settings.store.redis_url.reveal() == url
    assert _row(settings, "store.redis_url")[0] == shown
    assert CANARY not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "rediss://redis?ssl_cert_reqs=none",
        "rediss://redis?ssl_check_hostname=false",
        "rediss+cluster://one:1,two:2?ssl_cert_reqs=",
        "rediss+sentinel://one:1/name?sentinel_ssl_cert_reqs=none",
    ],
)
def test_no_url_of_the_store_switches_verification_off(url: str, example: Path) -> None:
    with pytest.raises(SettingsError, match="certificates are always verified"):
        load(example, {"APPROVAL_PROXY__STORE__REDIS_URL": url})
    trusting = url.partition("?")[0] + "?ssl_ca_certs=/run/tls/ca.pem"
    assert load(example, {"APPROVAL_PROXY__STORE__REDIS_URL": trusting}).store.redis_url


def test_no_secret_is_in_what_settings_show_of_themselves(example: Path) -> None:
    settings = load(example, {})

    shown = f"{settings!r} {settings} {explain(settings)} {settings.model_dump_json()}"

    assert CANARY not in shown
    assert CANARY in _client_secret(settings)[0]


def test_what_is_frozen_with_a_request_has_no_secret(example: Path) -> None:
    desk = load(example, {}).ticket_systems["desk"]

    frozen = desk.declaration.model_dump(mode="json")

    assert type(desk.declaration).model_validate(frozen) == desk.declaration
    assert not {"auth", "ca_file", "allow_http"} & set(frozen)
    assert "secrets" not in frozen["events"]
    assert desk.event_secrets() == (f"{CANARY}-desk-event-secret".encode(),)


def test_a_system_without_events_has_no_event_secrets(example: Path) -> None:
    desk = load(example, {"APPROVAL_PROXY__TICKET_SYSTEMS__DESK__EVENTS": "null"}).ticket_systems

    assert desk["desk"].event_secrets() == ()
    assert desk["desk"].declaration.events is None
