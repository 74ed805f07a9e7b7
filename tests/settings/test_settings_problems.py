from pathlib import Path

import pytest
from pydantic import ValidationError

from proxy.errors import SettingsError
from proxy.settings import load
from tests.support.settings_errors import without_places

DESK = "TICKET_SYSTEMS__DESK"


def _problems(config: Path, **changes: str) -> list[str]:
    environ = {f"APPROVAL_PROXY__{name}": value for name, value in changes.items()}
    with pytest.raises(SettingsError) as refusal:
        load(config, environ)
    return without_places(refusal.value.problems)


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [
        ("publc_url", "public_url"),
        ("store.redsi_url", "store.redis_url"),
        ("witboost.main.calback", "witboost.main.callback"),
        ("witboost.main.credential.acess_token", "witboost.main.credential.access_token"),
        ("ticket_systems.desk.auth.client_secrt", "ticket_systems.desk.auth.client_secret"),
        ("ticket_systems.desk.create.sucess", "ticket_systems.desk.create.success"),
        ("ticket_systems.desk.events.secret", "ticket_systems.desk.events.secrets"),
        ("routes.0.pol", "routes.0.poll"),
        ("routes.0.poll.frist", "routes.0.poll.first"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(
    typo: str, nearest: str, example: Path
) -> None:
    variable = typo.replace(".", "__").upper()

    [problem] = _problems(example, **{variable: "x"})

    assert problem == f"{typo}: unknown key; did you mean {nearest}?"


def test_an_unknown_key_without_a_near_one_is_told_what_is_known(example: Path) -> None:
    [problem] = _problems(example, LOGS__ZZZ="1")

    assert problem.endswith("unknown key; known here: access, level")


def test_keys_that_the_library_knows_are_unknown_here(example: Path) -> None:
    """pydantic-settings has constructor arguments such as `_env_file`: not for files to set."""
    text = example.read_text(encoding="utf-8")
    example.write_text(f"{text}\n_env_file: /etc/passwd\n", encoding="utf-8")

    [problem] = _problems(example)

    assert problem.startswith("_env_file: unknown key")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("LISTEN__PORT", "70000", "must be less than or equal to 65535"),
        ("LISTEN__PATH", "hooks", "must match pattern"),
        ("LISTEN", "x", "must be a section of `name: value` lines, or in the environment JSON"),
        ("ROUTES", "x", "must be a list"),
        ("WITBOOST__MAIN__CALLBACK_URLS", "https://w.example/", "must be a list"),
        ("PUBLIC_URL", "approval.example.com", "not a web address"),
        ("PUBLIC_URL", "https://u:s3cret@example.com", "not a web address"),
        ("PUBLIC_URL", "https://[bad", "not a web address"),
        ("STORE__RETENTION", "90", "has no unit"),
        ("STORE__PARTITIONS", "1025", "must be less than or equal to 1024"),
        ("STORE__FSYNC", "sometimes", "must be 'always' or 'everysec'"),
        ("STORE__REDIS_URL", "http://s3cret@redis", "not the URL of a Redis server"),
        ("STORE__REDIS_URL", "redis://:s3/cret@redis:6379/0", "not the URL of a Redis server"),
        ("STORE__REDIS_URL", "redis://:s3#cret@redis:6379/0", "not the URL of a Redis server"),
        ("STORE__REDIS_URL", "redis+sentinel://redis:26379", "name-of-the-master"),
        ("STORE__REDIS_URL", "redis+sentinel://redis:x/approvals", "not the URL of a Redis server"),
        ("STORE__REDIS_URL", "redis+cluster://one:7000,,two/3", "not the URL of a Redis server"),
        ("WORKER__LEASE", "0s", "must be longer than 0"),
        ("LIMITS__BODY", "lots", "could not parse value and unit"),
        (
            "WITBOOST__MAIN__CREDENTIAL__KIND",
            "magic",
            "must be one of 'access_token', 'shared_secret'",
        ),
        ("WITBOOST__MAIN__CREDENTIAL", "{}", "missing; set it"),
        ("WITBOOST__MAIN__CALLBACK_URLS", '["https://u:s3cret@w.example/"]', "not a web address"),
        ("WITBOOST__MAIN__CLIENTS__X__KEYS", '["ap_s3cret"]', "not the hash of a key"),
        (f"{DESK}__KIND", "fax", "must be one of 'rest', "),
        (f"{DESK}__CA_FILE", "/does/not/exist", "not a file"),
        (f"{DESK}__AUTH__CLIENT_SECRET", "", "is empty"),
        (f"{DESK}__AUTH__CLIENT_SECRET", '{"file": "/does/not/exist"}', "cannot be read"),
        (f"{DESK}__AUTH__CLIENT_SECRET", '{"env": "NOT_THERE"}', "NOT_THERE is not set"),
        (f"{DESK}__AUTH__CLIENT_SECRET", '{"vault": "s3cret"}', "not a secret"),
        (f"{DESK}__AUTH__CLIENT_SECRET", '[["s3cret"]]', "not a secret"),
        (f"{DESK}__AUTH__CLIENT_SECRET", '{"env": []}', "not the name of a variable"),
        (f"{DESK}__EVENTS__SECRETS", "[]", "empty: at least one is required"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_never_shows_a_secret(
    variable: str, value: str, expected: str, example: Path
) -> None:
    problems = _problems(example, **{variable: value})

    key = variable.lower().replace("__", ".")
    assert any(expected in problem for problem in problems)
    assert all(problem.startswith(key) for problem in problems), problems
    assert not any("s3" in problem or "cret@" in problem for problem in problems), problems


def test_everything_wrong_is_told_at_once(example: Path) -> None:
    problems = _problems(
        example, STORE__PARTITIONS="0", LOGS__LEVEL="loud", PUBLIC_URL="", LISTEN__PROT="1"
    )

    assert sorted(problem.split(":")[0] for problem in problems) == [
        "listen.prot",
        "logs.level",
        "public_url",
        "store.partitions",
    ]


def test_a_route_that_leads_nowhere_is_told_beside_a_broken_ticket_system(example: Path) -> None:
    wrong = {f"{DESK}__SETTLE": "5", "ROUTES__0__SYSTEM": "dsk", "ROUTES__0__ON_DEADLINE": "wait"}
    problems = _problems(example, **wrong)

    assert [problem.split(":")[0] for problem in problems] == [
        "routes.0.system",
        "ticket_systems.desk.settle",
        "routes.0.on_deadline",
    ]
    assert "did you mean desk?" in problems[0]


def test_what_an_unknown_key_hides_is_told_beside_it(example: Path) -> None:
    """A rule over several keys of a section is not asked while one of them is unknown."""
    problems = _problems(
        example, **{f"{DESK}__EVENTS__TOLERENCE": "5m", f"{DESK}__EVENTS__SIGNED": "{tmestamp}"}
    )

    assert len(problems) == 2
    assert "did you mean ticket_systems.desk.events.tolerance?" in problems[0]
    assert "signed holds {tmestamp}, which is not known" in problems[1]


@pytest.mark.parametrize("systems", ["[]", "{}"])
def test_where_no_ticket_system_is_named_no_route_is_blamed(example: Path, systems: str) -> None:
    assert len(_problems(example, TICKET_SYSTEMS=systems)) == 1


def test_settings_do_not_change(example: Path) -> None:
    settings = load(example, {})

    with pytest.raises(ValidationError):
        settings.store.folder = "elsewhere"  # type: ignore[misc]
