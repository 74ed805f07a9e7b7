from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.settings import CONFIG, explain, load
from proxy.settings.oauth2 import OAuth2
from proxy.settings.sources import gather
from proxy.settings.ticket_systems import RestSystem
from proxy.settings.witboost import AccessToken


def _origins(config: Path, environ: dict[str, str]) -> dict[str, str]:
    return {key: origin for key, _, origin in explain(load(config, environ))}


def _problems(config: Path | None, environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        load(config, environ)
    return refusal.value.problems


def test_the_example_says_what_is_the_default(example: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.yaml"
    dropped = {"listen", "store", "encryption", "worker", "limits", "retries", "operators", "logs"}
    sections = example.read_text(encoding="utf-8").split("\n\n")
    kept = [text for text in sections if text.partition(":")[0] not in dropped]
    bare.write_text("\n\n".join(kept), encoding="utf-8")

    complete, minimal = load(example, {}), load(bare, {})

    assert dict(complete) == dict(minimal)
    sections_of = {
        key.split(".")[0] for key, said in _origins(bare, {}).items() if said == "default"
    }
    assert dropped < sections_of


def test_every_key_of_the_example_is_written_out(example: Path) -> None:
    unwritten = {key for key, origin in _origins(example, {}).items() if origin == "default"}

    calls = {"body", "encoding", "query", "headers", "success"}
    assert {key for key in unwritten if not set(key.split(".")) & calls} == set()


def test_the_environment_wins_over_the_file(example: Path) -> None:
    variable = "APPROVAL_PROXY__LISTEN__PORT"

    settings = load(example, {variable: "9999"})

    assert settings.listen.port == 9999
    assert _origins(example, {variable: "9999"})["listen.port"] == f"environment {variable}"
    assert _origins(example, {variable: "9999"})["listen.host"] == f"file {example}"


def test_the_environment_reaches_into_maps_and_lists(example: Path) -> None:
    settings = load(
        example,
        {
            "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__BASE_URL": "https://other.example.com/",
            "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH__CLIENT_ID": "somebody",
            "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__CREATE__BODY__TITLE": "{{ motivation }}",
            "APPROVAL_PROXY__ROUTES__0__POLL__FIRST": "2s",
            "APPROVAL_PROXY__WITBOOST__MAIN__CALLBACK_URLS": '["https://w.example.com/a/"]',
            "APPROVAL_PROXY__STORE__REDIS_URL": "redis://redis:6379/0",
            "APPROVAL_PROXY__LOGS__ACCESS": "false",
        },
    )

    desk = settings.ticket_systems["desk"]
    assert desk.base_url == "https://other.example.com"
    assert isinstance(desk.auth, OAuth2)
    assert desk.auth.client_id == "somebody"
    assert isinstance(desk, RestSystem)
    assert desk.create.body["title"] == "{{ motivation }}"  # type: ignore[index, call-overload]
    assert settings.routes[0].poll.first == 2_000
    assert settings.witboost["main"].callback_urls == ("https://w.example.com/a/",)
    assert not settings.embedded
    assert not settings.logs.access


def test_a_map_key_keeps_the_spelling_of_the_file(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    spelled = text.replace("\n  desk:", "\n  Main-Desk:").replace(
        "system: desk", "system: Main-Desk"
    )
    example.write_text(spelled, encoding="utf-8")

    settings = load(example, {"APPROVAL_PROXY__TICKET_SYSTEMS__MAIN_DESK__CONCURRENCY": "3"})

    assert settings.ticket_systems["Main-Desk"].concurrency == 3


def test_json_replaces_and_deeper_variables_are_laid_over_it(example: Path) -> None:
    environ = {
        "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH__NAME": "X-Key",
        "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH": '{"kind": "header", "value": "v"}',
    }

    origins = _origins(example, environ)

    auth = {
        key: said for key, said in origins.items() if key.startswith("ticket_systems.desk.auth")
    }
    assert auth == {
        "ticket_systems.desk.auth.kind": "environment APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH",
        "ticket_systems.desk.auth.name": (
            "environment APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH__NAME"
        ),
        "ticket_systems.desk.auth.value": "environment APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH",
    }


def test_settings_can_come_from_the_environment_alone() -> None:
    settings = load(
        None,
        {
            "APPROVAL_PROXY__PUBLIC_URL": "http://localhost:8080",
            "APPROVAL_PROXY__WITBOOST__MAIN": (
                '{"callback_urls": ["http://localhost/"], "credential": {"kind": "none"},'
                ' "authentication": "off"}'
            ),
            "APPROVAL_PROXY__TICKET_SYSTEMS__DESK": (
                '{"base_url": "http://localhost", "auth": {"kind": "none"}, "kind": "rest",'
                ' "create": {"path": "/t"}, "read": {"path": "/t/{{ ticket.id }}"},'
                ' "ping": {"path": "/"}, "decision": {"yes": "approved"},'
                ' "ticket": {"decided_by": "by"}}'
            ),
            "APPROVAL_PROXY__ROUTES": '[{"name": "default", "system": "desk"}]',
            "APPROVAL_PROXY__OUTBOUND__LOOPBACK": "true",
        },
    )

    assert settings.embedded
    assert settings.ticket_systems["desk"].decision == {"yes": "approved"}


def test_a_variable_may_name_the_file(example: Path, tmp_path: Path) -> None:
    assert load(None, {CONFIG: str(example)}) == load(example, {})
    assert load(example, {CONFIG: str(tmp_path / "absent")}) == load(example, {})


def test_without_any_source_everything_required_is_named() -> None:
    problems = _problems(None, {})

    assert [problem.split(":")[0] for problem in problems] == [
        "public_url",
        "witboost",
        "ticket_systems",
        "routes",
        "no settings file was given",
    ]


@pytest.mark.parametrize(
    "variable",
    [
        "APPROVAL_PROXY__STROE__FOLDER",
        "APPROVAL_PROXY__STORE__FODLER",
        "APPROVAL_PROXY__STORE",
        "APPROVAL_PROXY__ROUTES__7__NAME",
        "APPROVAL_PROXY__ROUTES__FIRST__NAME",
        "APPROVAL_PROXY_STORE__FOLDER",
        "APPROVAL_PROXY_PUBLIC_URL",
        "APPROVAL_PROXY__",
    ],
)
def test_a_variable_that_sets_nothing_is_an_error(variable: str, example: Path) -> None:
    [problem] = _problems(example, {variable: "/somewhere"})

    assert f"environment {variable}" in problem


def test_variables_that_kubernetes_sets_are_left_alone(example: Path) -> None:
    links = {
        "APPROVAL_PROXY_SERVICE_HOST": "10.0.0.1",
        "APPROVAL_PROXY_SERVICE_PORT": "8080",
        "APPROVAL_PROXY_SERVICE_PORT_HTTP": "8080",
        "APPROVAL_PROXY_PORT": "tcp://10.0.0.1:8080",
        "APPROVAL_PROXY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "APPROVAL_PROXY_REDIS_SERVICE_HOST": "10.0.0.2",
    }

    assert load(example, links) == load(example, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("store: [\n", ":2:1: not YAML"),
        ("store: [}\n", ":1:9: not YAML"),
        ("\tstore: 1", ":1:1: not YAML"),
        ("logs:\n  level: info\nsecret: *s3cret", ":3:9: not YAML"),
        ("store: {folder: a, folder: b}", ":1:20: the key 'folder' is written twice"),
        ("just words", ": no settings"),
        ("store: \x01", ": not YAML: it holds a character"),
        ("store: &a {folder: *a}", ": it refers to itself"),
        pytest.param("store: " + "[" * 101, ": it refers to itself, or is nested", id="flow"),
        pytest.param("- " * 102, ": it refers to itself, or is nested too deeply", id="block"),
    ],
)
def test_an_unusable_file_is_told_without_its_text(
    text: str, expected: str, tmp_path: Path
) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(text, encoding="utf-8")

    [problem] = _problems(config, {})

    assert problem.startswith(f"{config}{expected}")
    assert "s3cret" not in problem


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\xff")

    assert "No such file" in _problems(tmp_path / "absent", {})[0]
    assert "not UTF-8" in _problems(binary, {})[0]


def test_words_stay_words(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    statuses = ["yes: approved", "No: rejected", "0100: pending", "7: failed", "new: pending"]
    example.write_text(
        text.replace(
            "      new: pending", "\n".join(f"      {status}" for status in statuses)
        ).replace("authentication: keys", "authentication: off"),
        encoding="utf-8",
    )

    settings = load(example, {})

    decision = settings.ticket_systems["desk"].decision
    assert list(decision)[:4] == ["yes", "No", "0100", "7"]
    assert settings.witboost["main"].authentication == "off"


def test_a_section_with_nothing_in_it_counts_as_left_out(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    example.write_text(text.partition("logs:")[0] + "logs:\n", encoding="utf-8")

    assert load(example, {}).logs.level == "info"


def test_off_may_arrive_as_false(example: Path) -> None:
    main = "APPROVAL_PROXY__WITBOOST__MAIN"

    settings = load(
        example,
        {
            main: '{"callback_urls": ["https://w.example.com/"], "authentication": false,'
            ' "credential": {"kind": "none"}}'
        },
    )

    assert settings.witboost["main"].authentication == "off"


def test_a_variable_changes_one_of_two_that_share_an_anchor(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    shared = text.replace("poll: {first", "poll: &poll {first").replace(
        "\nidentities:", "\n  - {name: other, system: desk, poll: *poll}\nidentities:"
    )
    example.write_text(shared, encoding="utf-8")

    sources = gather(example, {"APPROVAL_PROXY__ROUTES__1__POLL__FIRST": "2s"})

    assert [route["poll"]["first"] for route in sources.values["routes"]] == ["1s", "2s"]


def test_an_access_token_is_the_usual_credential(example: Path) -> None:
    """Its kind need not be said; every other one must be."""
    text = example.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "      kind: access_token" not in line]
    assert len(lines) == len(text.splitlines()) - 1
    example.write_text("\n".join(lines), encoding="utf-8")

    assert isinstance(load(example, {}).witboost["main"].credential, AccessToken)
