"""`approval-proxy requests` against a running program; it runs in a thread, the program here."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from proxy.cli import main
from proxy.domain.models import State
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import HookCall
from tests.conftest import OpenRig
from tests.support.example_settings import write_example
from tests.support.rig import OPERATOR_KEY, Rig, desk_tree

SECOND = 1_000


@dataclass
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Awaitable[Said]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("APPROVAL_PROXY_KEY", OPERATOR_KEY)

    async def run(*arguments: str) -> Said:
        code = await asyncio.to_thread(main, ["requests", *arguments])
        said = Said(code, *capsys.readouterr())
        assert OPERATOR_KEY not in said.out + said.err
        return said

    return run


def blind_desk(url: str) -> dict[str, object]:
    """A desk that nobody can ask whether it has a ticket already."""
    tree = desk_tree(url)
    del tree["find"]
    return {**tree, "ping": {"path": "/api/tickets"}}


async def in_doubt(rig: Rig, *, created: bool) -> HookCall:
    rig.desk.switch_on(Fault("create", "reset", after_effect=created))
    call = await rig.ask()
    await rig.work()
    await rig.work(after=10 * SECOND)
    assert await rig.state(call) is State.HELD
    return call


async def test_list_shows_requests_as_a_table_newest_first(rig: Rig, command: Command) -> None:
    older = await rig.ask()
    await rig.work(after=SECOND)
    newer = await rig.ask()
    said = await command("list", "--url", rig.url)
    heading, *rows = (line.split() for line in said.out.splitlines())
    assert said.code == 0
    assert heading[:2] == ["request", "status"]
    assert [row[:2] for row in rows] == [
        [newer.correlation_id, "received"],
        [older.correlation_id, "pending"],
    ]
    assert rows[1][4] == rig.tickets()[0]["key"]


async def test_list_finds_the_request_of_a_ticket(rig: Rig, command: Command) -> None:
    mine, _ = await rig.ask(), await rig.ask()
    await rig.work()
    (key,) = [it["key"] for it in rig.tickets() if it["correlation_id"] == mine.correlation_id]
    said = await command("list", "--url", rig.url, "--ticket", key, "--json")
    assert [it["correlationId"] for it in json.loads(said.out)] == [mine.correlation_id]


async def test_list_takes_states_and_a_limit(rig: Rig, command: Command) -> None:
    first = await rig.ask()
    await rig.work(after=SECOND)
    await rig.ask()
    some = await command("list", "--url", rig.url, "--state", "pending,held", "--json")
    assert [each["correlationId"] for each in json.loads(some.out)] == [first.correlation_id]
    one = await command("list", "--url", rig.url, "--limit", "1", "--json")
    assert len(json.loads(one.out)) == 1
    wrong = await command("list", "--url", rig.url, "--state", "asleep")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith("approval-proxy: state: ")


async def test_list_reads_as_many_pages_as_the_limit_needs(
    rig: Rig, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [await rig.ask() for _ in range(5)]
    monkeypatch.setattr("proxy.cli.commands.requests._PAGE", 2)
    said = await command("list", "--url", rig.url, "--limit", "4", "--json")
    shown = [each["correlationId"] for each in json.loads(said.out)]
    assert len(set(shown)) == 4
    assert set(shown) < {call.correlation_id for call in calls}


async def test_show_tells_where_a_request_stands_and_why(
    open_rig: OpenRig, command: Command
) -> None:
    async with open_rig(declare=blind_desk) as rig:
        call = await in_doubt(rig, created=True)
        said = await command("show", str(call.correlation_id), "--url", f"{rig.url}/")
        assert said.code == 0
        lines = [" ".join(line.split()) for line in said.out.splitlines()]
        assert lines[0] == f"Request {call.correlation_id}"
        assert "status held" in lines
        assert "code create_in_doubt" in lines
        assert any("john.doe_company.com" in line for line in lines)
        history = lines[lines.index("History") + 1 :]
        assert [line.split()[1] for line in history][:2] == ["Admitted", "Sending"]
        whole = await command("show", str(call.correlation_id), "--url", rig.url, "--json")
        assert json.loads(whole.out)["code"] == "create_in_doubt"


async def test_what_others_wrote_steers_no_terminal(rig: Rig, command: Command) -> None:
    call = await rig.ask({"verb": "grant", "motivation": "\x1b[2Jnothing\nto see"})
    said = await command("show", str(call.correlation_id), "--url", rig.url)
    assert "\x1b" not in said.out
    assert "nothing" in said.out


async def test_attach_gives_a_request_its_ticket(open_rig: OpenRig, command: Command) -> None:
    async with open_rig(declare=blind_desk) as rig:
        call = await in_doubt(rig, created=True)
        ticket = rig.tickets()[0]
        said = await command(
            *("attach", str(call.correlation_id), ticket["id"], "--url", rig.url),
            *("--reason", "found by hand"),
        )
        assert said.code == 0
        assert said.out == f"{call.correlation_id} is now pending, ticket {ticket['key']}\n"


async def test_retry_of_a_doubt_needs_a_word_that_there_is_no_ticket(
    open_rig: OpenRig, command: Command
) -> None:
    async with open_rig(declare=blind_desk) as rig:
        call = await in_doubt(rig, created=False)
        retry = ("retry", str(call.correlation_id), "--url", rig.url, "--reason", "looked")
        refused = await command(*retry)
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith("approval-proxy: noTicketExists: ")
        assert refused.err.count("\n") == 1
        taken = await command(*retry, "--no-ticket-exists")
        assert taken.code == 0
        await rig.work()
        assert len(rig.tickets()) == 1


async def test_an_unknown_request_is_named(rig: Rig, command: Command) -> None:
    said = await command("show", "no/such id", "--url", rig.url)
    assert (said.code, said.out) == (1, "")
    assert said.err == "approval-proxy: no request has the correlation id no/such id\n"


async def test_a_wrong_key_is_refused_and_not_shown(rig: Rig, command: Command) -> None:
    said = await command("list", "--url", rig.url, "--key", "ap_a-wrong-key")
    assert (said.code, said.out) == (1, "")
    assert "no operator of this program has this key" in said.err
    assert "ap_a-wrong-key" not in said.err


@pytest.mark.parametrize("key", ["", "two\nlines", "schl\N{LATIN SMALL LETTER U WITH DIAERESIS}"])
async def test_a_key_that_is_none_is_refused_before_anything_is_sent(
    key: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROVAL_PROXY_KEY", key)
    said = await command("list", "--url", "http://127.0.0.1:1")
    assert said.code == 1
    assert "operator key" in said.err
    assert not key or key not in said.err


async def test_a_redirect_is_not_followed(command: Command) -> None:
    """It would take the operator's key to somewhere else."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        said = await command("list", "--url", f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()
    assert said.code == 1
    assert "is the address right?" in said.err
    assert asked == ["/api/requests"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1", "could not be called"),
        ("ftp://127.0.0.1", "must be an http(s) URL"),
        ("http://[", "must be an http(s) URL"),
    ],
)
async def test_a_program_that_cannot_be_reached_is_one_plain_message(
    url: str, reason: str, command: Command
) -> None:
    said = await command("list", "--url", url)
    assert (said.code, said.out) == (1, "")
    assert reason in said.err
    assert said.err.count("\n") == 1


async def test_the_address_may_come_from_the_environment_or_the_settings(
    rig: Rig, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("APPROVAL_PROXY_URL", rig.url)
    assert (await command("list")).code == 0
    monkeypatch.delenv("APPROVAL_PROXY_URL")
    config = tmp_path / "approval-proxy.yaml"
    public = config.read_text().replace("https://approval.example.com", rig.url)
    config.write_text(public)
    assert (await command("list", "--config", str(config))).code == 0


def test_the_operators_variables_disturb_no_other_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROVAL_PROXY_KEY", OPERATOR_KEY)
    monkeypatch.setenv("APPROVAL_PROXY_URL", "https://approval.example.com")
    assert main(["check", "--config", str(write_example(tmp_path))]) == 0


@pytest.mark.parametrize(
    "arguments", [["list", "--limit", "0"], ["retry", "1"], ["attach", "1", "--reason", "x"], []]
)
def test_a_wrong_command_line_ends_with_2_before_anything_is_asked(arguments: list[str]) -> None:
    assert main(["requests", *arguments]) == 2


async def test_a_retry_of_many_is_counted_first_and_done_with_yes(
    rig: Rig, command: Command
) -> None:
    calls = [await rig.ask() for _ in range(3)]
    rig.desk.switch_on(Fault("create", "answer", status=422, times=3))
    await rig.work()
    assert [await rig.state(call) for call in calls] == [State.DEAD] * 3
    which = ("--state", "dead", "--system", "desk", "--reason", "repaired", "--url", rig.url)
    said = await command("retry", *which)
    assert (said.code, said.out) == (0, "3 requests match; add --yes to retry them\n")
    assert [await rig.state(call) for call in calls] == [State.DEAD] * 3
    said = await command("retry", *which, "--yes")
    assert (said.code, said.out) == (0, "3 of 3 done, 0 failed\n")
    assert said.err == ""
    await rig.work()
    assert [await rig.state(call) for call in calls] == [State.PENDING] * 3


async def test_a_retry_names_an_id_or_states(rig: Rig, command: Command) -> None:
    said = await command("retry", "--reason", "r", "--url", rig.url, "--system", "desk")
    assert said.code == 2
    assert "Give an ID or --state" in said.err
