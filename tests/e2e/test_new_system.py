"""A new ticket system from its page alone, before a real tracker that we did not write."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.domain.models import Outcome, State
from proxy.errors import ConflictError
from proxy.tickets.port import Cancels, ListsChanges
from tests.conftest import OpenRig
from tests.e2e.roundup import Roundup, basic, roundup
from tests.support.pages import ROOT, Page

PAGE = Page.read(ROOT / "docs" / "ticket-systems.md")
SECOND = 1_000
DAY = 86_400 * SECOND


@pytest.fixture(scope="module")
def tracker() -> Iterator[Roundup]:
    with roundup() as server:
        yield server


def declared(tracker: Roundup, folder: Path) -> dict[str, Any]:
    """Return the page's settings for it; only its address and the secret's place differ."""
    section = Page(PAGE.path, PAGE.section("Another ticket system"))
    (block,) = section.blocks("yaml")
    assert 10 <= len(block.strip().splitlines()) <= 30
    secret = folder / "tracker"
    secret.write_text(basic("proxy"))
    text = block.replace("https://tracker.example.com", tracker.origin)
    tree: dict[str, Any] = yaml.safe_load(text.replace("/run/secrets/tracker", str(secret)))
    tree["ticket_systems"]["tracker"]["allow_http"] = True
    return tree


@pytest.mark.parametrize(("status", "told"), [("approved", "OK"), ("rejected", "KO")])
async def test_a_request_is_decided_in_a_tracker_that_is_only_declared(
    open_rig: OpenRig, tracker: Roundup, tmp_path: Path, status: str, told: str
) -> None:
    async with open_rig(**declared(tracker, tmp_path)) as rig:
        call = await rig.ask()
        await rig.work()
        (issue,) = [it for it in await tracker.issues() if it["correlation"] == call.correlation_id]
        assert issue["title"] == "grant access for john.doe_company.com"
        await rig.work(after=2 * SECOND)
        assert await rig.state(call) is State.PENDING
        await tracker.decide(issue["id"], status)
        await rig.work(after=60 * SECOND)
        assert await rig.state(call) is State.DONE
        final = rig.final(call)
        assert final is not None
        assert final["status"] == told


async def test_a_create_whose_answer_was_lost_is_found_there(
    open_rig: OpenRig, tracker: Roundup, tmp_path: Path
) -> None:
    async with open_rig(**declared(tracker, tmp_path)) as rig:
        call = await rig.ask()
        await rig.work()
        system = rig.program.systems["tracker"]
        (found,) = await system.find(str(call.correlation_id))
        assert found.id == (await rig.entry(call)).record.ticket_id
        assert await system.find("no-such-request") == []


async def test_changes_are_listed_and_a_decided_issue_is_not_cancelled(
    open_rig: OpenRig, tracker: Roundup, tmp_path: Path
) -> None:
    async with open_rig(**declared(tracker, tmp_path)) as rig:
        calls = [await rig.ask() for _ in range(2)]
        await rig.work()
        first, second = [(await rig.entry(call)).record.ticket_id for call in calls]
        system = rig.program.systems["tracker"]
        assert isinstance(system, ListsChanges)
        changed = await system.changes(0)
        assert {first, second} <= set(changed)
        assert await system.changes(max(changed.values()) + DAY) == {}
        assert isinstance(system, Cancels)
        await system.cancel(first, "no longer needed")
        assert (await system.fetch(first)).outcome is Outcome.CANCELLED
        await tracker.decide(second, "approved")
        with pytest.raises(ConflictError, match="approved already"):
            await system.cancel(second, "too late")
