"""The container files fit each other and the program, as far as that shows without containers.

`make compose-test` runs them.
"""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.domain.durations import parse_duration
from proxy.settings import Settings, load
from proxy.settings.oauth2 import OAuth2
from proxy.simulators.serve import arguments
from proxy.web.auth import hash_key

ROOT = Path(__file__).parents[2]
DEMO_SECRETS = ROOT / "deploy" / "compose" / "demo-secrets"
SETTINGS = ROOT / "deploy" / "compose" / "approval-proxy.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("web", "worker", "desk", "witboost")
SAFE_REDIS = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    found = [line.split(maxsplit=1) for line in lines if line.strip()]
    return [(name, rest.strip()) for name, rest in found]


def said(name: str) -> list[str]:
    """Return every use of an instruction, in order."""
    return [rest for found, rest in instructions() if found == name]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    text = SETTINGS.read_text().replace("/run/secrets", str(DEMO_SECRETS))
    file = tmp_path / "approval-proxy.yaml"
    file.write_text(text)
    return load(file, {})


def weaknesses(service: Mapping[str, Any]) -> Iterator[str]:
    """Say what a container may do beyond its job."""
    if service.get("read_only") is not True:
        yield "can write to its root"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        yield "has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "may gain privileges"
    if service.get("privileged"):
        yield "is privileged"
    user = str(service.get("user", said("USER")[-1])).partition(":")[0]
    if not user.isdecimal() or user == "0":
        yield "is root, or a name that may stand for root"


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_do_more_than_its_job(name: str) -> None:
    assert list(weaknesses(SERVICES[name])) == []


@pytest.mark.parametrize(
    "change",
    [
        {"read_only": False},
        {"cap_drop": []},
        {"cap_add": ["NET_RAW"]},
        {"security_opt": []},
        {"privileged": True},
        {"user": "0:0"},
        {"user": "root"},
    ],
    ids=str,
)
def test_a_weakened_service_is_seen(change: dict[str, Any]) -> None:
    assert len(list(weaknesses(SERVICES["web"] | change))) == 1


def test_redis_keeps_what_a_202_promised() -> None:
    redis = SERVICES["redis"]
    words = redis["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert {name: options[f"--{name}"] for name in SAFE_REDIS} == SAFE_REDIS
    volume, _, folder = redis["volumes"][0].partition(":")
    assert volume in COMPOSE["volumes"]
    assert folder == options["--dir"]


def test_only_web_and_worker_reach_redis() -> None:
    assert COMPOSE["networks"]["store"]["internal"] is True
    inside = {name for name, it in SERVICES.items() if "store" in it.get("networks", ())}
    assert inside == {"redis", "web", "worker"}
    assert SERVICES["redis"]["networks"] == ["store"]
    assert "ports" not in SERVICES["redis"]


def test_ports_are_published_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_web_and_worker_wait_for_redis_and_have_time_to_stop(settings: Settings) -> None:
    for name in ("web", "worker"):
        service = SERVICES[name]
        assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
        assert service["command"] == ["serve", "--role", name]
        assert parse_duration(service["stop_grace_period"]) > settings.worker.stop_within


def test_the_settings_load_and_refuse_a_redis_that_forgets(settings: Settings) -> None:
    assert settings.store.redis_url is not None
    assert settings.store.redis_url.reveal() == "redis://redis:6379/0"
    assert settings.store.dangerous == "refuse"


def test_every_secret_is_given_to_whoever_reads_it() -> None:
    read = set(re.findall(r"/run/secrets/([a-z-]+)", SETTINGS.read_text()))
    assert read == set(COMPOSE["secrets"]) == {file.name for file in DEMO_SECRETS.iterdir()}
    for name in ("web", "worker"):
        assert set(SERVICES[name]["secrets"]) == read
    for name, secret in COMPOSE["secrets"].items():
        assert secret["file"] == f"${{PROXY_SECRETS:-./deploy/compose/demo-secrets}}/{name}"


def test_the_simulators_know_the_same_secrets_and_addresses(settings: Settings) -> None:
    desk, witboost = SERVICES["desk"]["environment"], SERVICES["witboost"]["environment"]
    system, instance = settings.ticket_systems["desk"], settings.witboost["main"]
    assert isinstance(system.auth, OAuth2)
    assert system.auth.client_id == desk["DESK_CLIENT_ID"]
    [secret] = system.auth.client_secret
    assert secret.reveal() == desk["DESK_CLIENT_SECRET"]
    assert system.event_secrets() == (desk["DESK_EVENT_SECRET"].encode(),)
    assert instance.credential.kind == "access_token"
    assert instance.credential.access_token.reveal() == witboost["WITBOOST_CALLBACK_SECRET"]
    [key] = instance.clients["witboost"].keys
    assert key.hash == hash_key(witboost["WITBOOST_API_KEY"])
    served = arguments().parse_args(SERVICES["witboost"]["command"])
    assert instance.callback_urls == (f"{served.public_url}/api/actionHandler/",)
    assert instance.credential.url == served.public_url


def test_secrets_that_everybody_knows_say_so() -> None:
    texts = [file.read_text().strip() for file in DEMO_SECRETS.iterdir()]
    texts += SERVICES["witboost"]["environment"].values()
    texts += [it for name, it in SERVICES["desk"]["environment"].items() if "SECRET" in name]
    assert all(text.startswith("demo-only-") for text in texts)


def test_the_demo_is_off_unless_asked_for_and_its_commands_are_understood() -> None:
    for name in ("desk", "witboost"):
        service = SERVICES[name]
        assert service["profiles"] == ["demo"]
        assert service["entrypoint"] == ["python", "-m", "proxy.demo.serve"]
        assert arguments().parse_args(service["command"]).simulator == name
    assert not any("profiles" in SERVICES[name] for name in ("web", "worker", "redis"))


def test_all_of_ours_are_one_image_built_from_the_file_that_is_here() -> None:
    for name in OURS:
        assert SERVICES[name]["image"] == SERVICES["web"]["image"]
        build = SERVICES[name]["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()


def test_the_image_names_no_registry_and_a_python_that_the_project_supports() -> None:
    (image,) = [it.removeprefix("PYTHON_IMAGE=") for it in said("ARG")]
    assert all(stage.split()[0] == "${PYTHON_IMAGE}" for stage in said("FROM"))
    name, _, tag = image.partition(":")
    assert name == "python"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = tag.split("-")[0]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    assert "://" not in " ".join(rest for _, rest in instructions())


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for copied in said("COPY"):
        words = copied.split()
        if not words[0].startswith("--from"):
            for source in words[:-1]:
                assert (ROOT / source).exists()
                assert any(fnmatch(source, rule) for rule in let_in), source


def test_the_image_installs_only_what_the_locks_have_hashes_of() -> None:
    installs = [part for run in said("RUN") for part in run.split("&&") if " install " in part]
    locked = [part for part in installs if "pip" in part and "--no-index" not in part]
    assert len(locked) == 2
    for part in locked:
        words = shlex.split(part)
        assert {"--require-hashes", "--only-binary"} <= set(words)
        lock = (ROOT / words[words.index("--requirement") + 1]).read_text()
        for entry in re.split(r"\n(?=\S)", lock):
            assert entry.startswith("#") or "--hash=sha256:" in entry
        assert "://" not in lock


@pytest.mark.parametrize("lock", [*ROOT.glob("deploy/*.lock"), *ROOT.glob("tests/e2e/*.lock")])
def test_no_lock_names_where_packages_come_from(lock: Path) -> None:
    """That is a setting of whoever installs, and may be a mirror with a password in its address."""
    text = lock.read_text()
    assert "--hash=sha256:" in text
    assert not re.search(r"://|^\s*-(i|f|-index|-extra-index|-find)|--trusted", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("lock", "table", "key"),
    [
        ("requirements.lock", "project", "dependencies"),
        ("requirements-build.lock", "build-system", "requires"),
    ],
)
def test_the_locks_pin_what_the_project_asks_for(lock: str, table: str, key: str) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())[table][key]
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy" / lock).read_text(), re.MULTILINE)
    names = {re.split(r"[^A-Za-z0-9-]", one, maxsplit=1)[0].lower() for one in asked}
    assert names <= set(pinned)


def test_process_1_is_the_program_and_its_health_check_needs_no_shell() -> None:
    assert [json.loads(it) for it in said("ENTRYPOINT") + said("CMD")] == [
        ["approval-proxy"],
        ["serve"],
    ]
    image = json.loads(said("HEALTHCHECK")[0].partition(" CMD ")[2])
    compose = SERVICES["web"]["healthcheck"]["test"][1:]
    port = said("EXPOSE")[0]
    for words, path in ((image, "/livez"), (compose, "/readyz")):
        assert words[0] == "python"
        compile(words[-1], "health check", "exec")
        assert f"'127.0.0.1', {port}," in words[-1]
        assert f"'{path}'" in words[-1]


def test_the_health_check_asks_the_port_of_the_settings(settings: Settings) -> None:
    assert str(settings.listen.port) == said("EXPOSE")[0]


def test_the_proof_in_containers_can_be_parsed() -> None:
    script = ROOT / "deploy" / "test-compose.sh"
    subprocess.run(["bash", "-n", script], check=True)
