"""`approval-proxy check --live`: what is wrong has a name, and a sentence that says what to do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.app.offline import open_clients
from proxy.cli import main
from proxy.cli.live.checks import Probe, examine
from proxy.cli.live.events import event_secrets
from proxy.errors import ConfigurationError
from proxy.net.addresses import EgressPolicy
from proxy.security.tls import Tls
from proxy.settings import Secret
from proxy.simulators.desk.server import Desk
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import Witboost
from proxy.tickets.port import Inspected
from tests.support.certificates import Authority
from tests.support.rig import API_KEY, CLIENT_SECRET, Rig, settings_tree

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with Desk(client_id="proxy", client_secret=CLIENT_SECRET, event_secret="") as desk:
        yield desk


@pytest.fixture
async def witboost() -> AsyncIterator[Witboost]:
    async with Witboost(api_key=API_KEY) as witboost:
        yield witboost


Check = Callable[..., Awaitable[tuple[int, dict[tuple[str, str], dict[str, Any]]]]]


@pytest.fixture
def check(
    desk: Desk, witboost: Witboost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Run the command in JSON under changed settings; its exit code, and steps by system, name."""

    async def run(
        change: Change = lambda _: None,
    ) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
        tree = settings_tree(desk=desk.url, witboost=witboost.url, redis_url=None, folder=tmp_path)
        tree["public_url"] = "http://127.0.0.1:1"  # no program runs there
        change(tree)
        config = tmp_path / "approval-proxy.yaml"
        config.write_text(yaml.safe_dump(tree))
        code = await asyncio.to_thread(main, ["check", "--live", "--json", "--config", str(config)])
        shown = capsys.readouterr()
        assert CLIENT_SECRET not in shown.out + shown.err
        told = orjson.loads(shown.out)
        assert told["ok"] == (code == 0)
        return code, {(step["system"], step["step"]): step for step in told["steps"]}

    return run


def _desk(tree: dict[str, Any]) -> dict[str, Any]:
    desk: dict[str, Any] = tree["ticket_systems"]["desk"]
    return desk


async def test_what_is_right_is_told_step_by_step(check: Check, desk: Desk, tmp_path: Path) -> None:
    code, steps = await check()

    assert code == 0
    assert {name for name in steps if name[0] == "desk"} == {
        ("desk", "DNS"),
        ("desk", "connection"),
        ("desk", "token"),
        ("desk", "API permission"),
        ("desk", "event secret"),
        ("desk", "opening"),
    }
    unproven = [steps["desk", name] for name in ("event secret", "opening")]
    assert [step["result"] for step in unproven] == ["skipped", "skipped"]
    assert "no program answers at public_url" in unproven[0]["said"]
    assert "approval-proxy try --system desk" in unproven[1]["said"]
    assert "valid for 1h" in steps["desk", "token"]["said"]
    assert ("main", "connection") in steps
    assert not list(desk.tickets.all())  # nothing was opened
    assert not (tmp_path / "store").exists()  # and no store was touched


def _wrong_secret(tree: dict[str, Any]) -> None:
    _desk(tree)["auth"]["client_secret"] = "some other secret"


def _unknown_scope(tree: dict[str, Any]) -> None:
    _desk(tree)["auth"]["scope"] = "everything"


def _no_endpoint(tree: dict[str, Any]) -> None:
    _desk(tree)["auth"]["token_url"] += "/nowhere"


def _no_name(tree: dict[str, Any]) -> None:
    _desk(tree)["base_url"] = "https://desk..example.com"  # no resolver is asked for such a name


def _closed_port(tree: dict[str, Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        _desk(tree)["base_url"] = f"http://127.0.0.1:{free.getsockname()[1]}"


def _no_tls(tree: dict[str, Any]) -> None:
    _desk(tree)["base_url"] = _desk(tree)["base_url"].replace("http:", "https:")


@pytest.mark.parametrize(
    ("change", "step", "wrong", "says"),
    [
        (_wrong_secret, "token", "client", "client_authentication"),
        (_unknown_scope, "token", "scope", "check `scope`"),
        (_no_endpoint, "token", "endpoint", "404"),
        (_no_name, "DNS", "DNS", "check the host in the settings"),
        (_closed_port, "connection", "connection", "port"),
        (_no_tls, "TLS", "TLS", "TLS"),
    ],
)
async def test_what_is_wrong_is_named(
    change: Change, step: str, wrong: str, says: str, check: Check
) -> None:
    code, steps = await check(change)

    assert code == 1
    found = steps["desk", step]
    assert (found["result"], found["wrong"]) == ("failed", wrong)
    assert says in found["said"]
    assert steps.get(("desk", "API permission"), {}).get("result") != "ok"


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("unauthorized_client", "client"),
        ("invalid_dpop_proof", "client"),
        ("unsupported_grant_type", "grant"),
        ("invalid_target", "scope"),
        ("of_their_own", "endpoint"),
    ],
)
async def test_a_refusal_is_told_by_its_code(
    code: str, wrong: str, check: Check, desk: Desk
) -> None:
    desk.faults.switch_on(Fault("token", "answer", status=400, times=None, body={"error": code}))

    _, steps = await check()

    assert steps["desk", "token"]["wrong"] == wrong
    assert code in steps["desk", "token"]["said"]


@pytest.mark.parametrize("status", [401, 403])
async def test_an_api_that_does_not_let_us_in_is_named(
    status: int, check: Check, desk: Desk
) -> None:
    desk.faults.switch_on(Fault("find", "answer", status=status, times=None))

    code, steps = await check()

    assert code == 1
    assert steps["desk", "token"]["result"] == "ok"
    assert steps["desk", "API permission"]["wrong"] == "API permission"


async def test_an_authority_that_nobody_trusts_is_named(check: Check, tmp_path: Path) -> None:
    authority = Authority.found(tmp_path)
    app = web.Application()

    async def nothing(_request: web.Request) -> web.Response:
        return web.json_response({"tickets": []})

    app.router.add_route("*", "/{path:.*}", nothing)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=authority.server(tmp_path).server())

    def strange(tree: dict[str, Any]) -> None:
        _desk(tree)["base_url"] = f"https://127.0.0.1:{server.port}"

    def trusted(tree: dict[str, Any]) -> None:
        strange(tree)
        _desk(tree)["ca_file"] = str(authority.ca_file)

    try:
        code, steps = await check(strange)
        assert code == 1
        assert steps["desk", "TLS"]["wrong"] == "TLS"
        assert "ca_file" in steps["desk", "TLS"]["said"]

        code, steps = await check(trusted)
        assert code == 0
        assert "days left" in steps["desk", "TLS"]["said"]
    finally:
        await server.close()


async def test_an_access_token_of_witboost_is_exchanged(check: Check, witboost: Witboost) -> None:
    def wrong(tree: dict[str, Any]) -> None:
        tree["witboost"]["main"]["credential"] = {
            "kind": "access_token",
            "url": witboost.url,
            "access_token": "wbat-that-nobody-gave",
        }

    code, steps = await check(wrong)

    assert code == 1
    assert steps["main", "token"]["result"] == "failed"
    assert "wbat-that-nobody-gave" not in steps["main", "token"]["said"]


async def test_a_person_reads_a_table(
    desk: Desk, witboost: Witboost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = settings_tree(desk=desk.url, witboost=witboost.url, redis_url=None, folder=tmp_path)
    _wrong_secret(tree)
    config = tmp_path / "approval-proxy.yaml"
    config.write_text(yaml.safe_dump(tree))

    assert await asyncio.to_thread(main, ["check", "--live", "--config", str(config)]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  FAILED  token (client)") for line in lines)
    assert any(line.startswith("  -       API permission") for line in lines)
    assert lines[-1].startswith("1 of ")


async def test_an_address_that_may_not_be_called_is_named_and_not_connected_to(
    check: Check, desk: Desk
) -> None:
    port = desk.url.rpartition(":")[2]

    def private(tree: dict[str, Any]) -> None:
        tree["ticket_systems"]["desk"]["base_url"] = f"http://10.255.255.1:{port}"
        tree["ticket_systems"]["desk"]["networks"] = ["10.0.0.0/8"]
        tree["outbound"]["proxy"] = {"url": f"http://10.255.255.1:{port}"}
        tree["witboost"]["main"]["direct"] = True

    code, steps = await check(private)
    assert code != 0
    refused = steps["desk", "address"]
    assert (refused["result"], refused["wrong"]) == ("failed", "address")
    assert refused["said"].endswith("open its network in outbound.proxy.networks")
    assert ("desk", "connection") not in steps
    assert steps["main", "connection"]["result"] == "ok"


async def ask_for_secret(rig: Rig, **events: Any) -> Inspected:
    """Ask the running program with its own settings, or with other ones for events."""
    settings = rig.program.settings.model_copy(update={"public_url": rig.url})
    system = settings.ticket_systems["desk"]
    assert system.events is not None
    changed = system.model_copy(update={"events": system.events.model_copy(update=events)})
    async with open_clients(settings) as outgoing:
        return await event_secrets("desk", changed, outgoing, clock=rig.clock)


async def test_the_running_program_takes_events_signed_with_the_secret(rig: Rig) -> None:
    found = await ask_for_secret(rig)
    assert found.proven
    assert "accepts events that are signed with our secret" in found.message


async def test_a_running_program_with_another_secret_is_told(rig: Rig) -> None:
    with pytest.raises(ConfigurationError, match="start the program with these settings"):
        await ask_for_secret(rig, secrets=(Secret("not-the-one"),))


async def test_what_is_no_approval_proxy_is_told(rig: Rig, witboost: Witboost) -> None:
    settings = rig.program.settings.model_copy(update={"public_url": witboost.url})
    async with open_clients(settings) as outgoing:
        with pytest.raises(ConfigurationError, match="answers 404 to an event and not as"):
            await event_secrets("desk", settings.ticket_systems["desk"], outgoing, clock=rig.clock)


async def test_each_inspection_speaks_for_itself() -> None:
    async def wrong() -> Inspected:
        raise ConfigurationError("fields: correct them")

    async def right() -> Inspected:
        return Inspected("well")

    async def unknown() -> Inspected:
        return Inspected("nobody says", proven=False)

    async with TestServer(web.Application()) as server:
        asked = {"fields": wrong, "people": right, "words": unknown}
        url = str(server.make_url("/"))
        probe = Probe(
            system="s",
            url=url,
            connect_url=url,
            egress=EgressPolicy((), "networks", loopback=True),
            tls=Tls().context(),
            preflight_checks=asked,
        )
        [finding] = [finding async for finding in examine([probe], now=0)]
    assert [(step.name, step.result, step.cause) for step in finding.steps[-3:]] == [
        ("fields", "failed", "fields"),
        ("people", "ok", ""),
        ("words", "skipped", ""),
    ]
