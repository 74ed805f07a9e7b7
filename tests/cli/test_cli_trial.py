"""`approval-proxy try` against a running program; it runs in a thread, the program here.

Where the command would sleep, the test lets time pass and people act.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.client import OperatorApi
from proxy.cli.commands import try_
from proxy.errors import ConfigurationError, PermanentError
from tests.conftest import OpenRig
from tests.support.rig import GRANT, OPERATOR_KEY, Rig

SECOND = 1_000
Step = Callable[[Rig], None]


def decided(status: str) -> Step:
    return lambda rig: rig.desk.decide(rig.tickets()[0]["id"], status, by="olga")


def nothing(_rig: Rig) -> None:
    """Nobody does anything."""


def broken_off(_rig: Rig) -> None:
    """A person presses Ctrl-C."""


async def attempt(
    rig: Rig,
    *steps: Step,
    system: str = "desk",
    request: Path | None = None,
    within: int | None = None,
) -> int:
    """Run the command; between its looks one step happens, and ten seconds pass."""
    loop, left = asyncio.get_running_loop(), iter(steps)

    async def happen(step: Step) -> None:
        step(rig)
        await rig.work(after=10 * SECOND)

    def pause(_seconds: float) -> None:
        step = next(left, nothing)
        if step is broken_off:
            raise KeyboardInterrupt
        asyncio.run_coroutine_threadsafe(happen(step), loop).result(10)

    api = OperatorApi(rig.url, OPERATOR_KEY)
    return await asyncio.to_thread(try_.run, api, system, request, within=within, pause=pause)


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


async def test_a_trial_shows_the_callback_and_sends_none(rig: Rig, out: Callable[[], str]) -> None:
    assert await attempt(rig, nothing, decided("approved")) == 0
    told, (ticket,) = out(), rig.tickets()
    assert f"Ticket {ticket['key']} is open: {ticket['url']}" in told
    assert "The decision: approved, by olga." in told
    callback = json.loads(told.partition("witboost would get:\n")[2].rpartition("The ticket:")[0])
    assert callback["status"] == "OK"
    assert callback["hookInfo"]["ticketKey"] == ticket["key"]
    assert rig.witboost.journal.of("callback") == []
    assert "TEST" in ticket["title"]
    assert "Nobody gets any access" in ticket["description"]
    assert "is over" in rig.desk.journal.of("comment")[0]["text"]  # a decided one stays decided


async def test_a_trial_that_is_broken_off_withdraws_its_ticket(
    rig: Rig, out: Callable[[], str]
) -> None:
    assert await attempt(rig, nothing, broken_off) == 0
    assert rig.tickets()[0]["status"] == "cancelled"
    assert "The ticket: withdrawn." in out()


async def test_a_trial_shows_the_fields_of_a_hook_call(
    rig: Rig, tmp_path: Path, out: Callable[[], str]
) -> None:
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps({"respondToUrl": "https://w.example.com/1", "fields": GRANT}))
    assert await attempt(rig, nothing, decided("rejected"), request=sample) == 0
    ticket = rig.tickets()[0]
    assert f"TEST {GRANT['identities'][0]}" in ticket["title"]
    assert ticket["description"].startswith("TEST")
    assert ticket["description"].endswith(GRANT["motivation"])
    assert '"status": "KO"' in out()


@pytest.mark.parametrize("text", ["", "[]", '{"fields": 3}', '{"respondToUrl": "x"}'])
async def test_a_file_that_is_no_hook_call_is_refused(rig: Rig, tmp_path: Path, text: str) -> None:
    sample = tmp_path / "sample.json"
    sample.write_text(text)
    with pytest.raises(ConfigurationError, match="is not a hook call"):
        await attempt(rig, request=sample)


async def test_a_trial_that_nobody_decides_in_time_withdraws_its_ticket(
    rig: Rig, out: Callable[[], str]
) -> None:
    assert await attempt(rig, nothing, nothing, within=2 * SECOND) == 1
    assert rig.tickets()[0]["status"] == "cancelled"
    assert "nobody decided the trial in time" in out()


async def test_a_trial_that_is_decided_while_it_is_broken_off_ends_with_that_decision(
    rig: Rig, out: Callable[[], str]
) -> None:
    def break_off_too_late(rig: Rig) -> None:
        decided("approved")(rig)

    assert await attempt(rig, nothing, break_off_too_late, broken_off) == 0
    assert "The decision: approved, by olga." in out()


async def test_a_system_to_which_no_route_leads_is_named(rig: Rig) -> None:
    with pytest.raises(PermanentError, match="no route leads to 'dsek'; routes lead to desk"):
        await attempt(rig, system="dsek")


async def test_what_a_person_must_look_at_is_said(
    open_rig: OpenRig, out: Callable[[], str]
) -> None:
    route: dict[str, Any] = {
        "name": "default",
        "system": "desk",
        "decision_deadline": "1d",
        "on_deadline": "hold",
    }
    async with open_rig(routes=[route]) as rig:

        def a_day_passes(rig: Rig) -> None:
            rig.clock.advance(86_400_000)

        assert await attempt(rig, nothing, a_day_passes) == 1
        assert "The request is held: No decision before the deadline" in out()
