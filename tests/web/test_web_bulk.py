"""Many requests at once: counted before anything is done, then each with its own outcome."""

import re
from pathlib import Path
from typing import Any

import pytest

import proxy
from proxy.domain.events.base import GivenUp
from proxy.domain.guards import GUARDED
from proxy.domain.models import State
from proxy.domain.remediation import REMEDIATION
from tests.support.acting import decide, happen, hold
from tests.support.manual_clock import ManualClock
from tests.web.conftest import OPERATOR_KEY, WITBOOST_KEY, Answered, Site


async def die(site: Site, correlation_id: str) -> None:
    await happen(site.store, correlation_id, GivenUp(at=2, code="gave_up", reason="Tried for 3d"))


async def state(site: Site, correlation_id: str) -> State:
    entry = await site.store.load(correlation_id)
    assert entry is not None
    return entry.record.state


async def bulk(site: Site, action: str, wanted: dict[str, Any], **more: Any) -> Answered:
    asked = {"filter": wanted, "reason": "the desk is back", **more}
    return await site.call("POST", f"/api/bulk/{action}", key=OPERATOR_KEY, json=asked)


async def test_a_dry_run_counts_and_changes_nothing(site: Site) -> None:
    dead = [(await site.submit()).taken for _ in range(3)]
    for each in dead:
        await die(site, each)
    await hold(site.store, (await site.submit()).taken)
    answer = await bulk(site, "retry", {"state": "dead"})
    assert answer.json == {"matching": 3}
    assert (await bulk(site, "retry", {"state": "dead,held"})).json == {"matching": 4}
    assert (await bulk(site, "retry", {"state": "dead,held", "code": "look"})).json["matching"] == 1
    assert (await bulk(site, "retry", {"state": "dead", "system": "x"})).json["matching"] == 0
    assert [await state(site, each) for each in dead] == [State.DEAD] * 3


@pytest.mark.parametrize("apart", [0, 1_000])
async def test_a_count_goes_over_all_pages(site: Site, clock: ManualClock, apart: int) -> None:
    """What is only counted stays in the list, so each page must begin where the last one ended."""
    for _ in range(7):
        await hold(site.store, (await site.submit()).taken)
        clock.advance(apart)
    wanted = {"state": "held", "limit": "2"}
    counted: list[int] = []
    while len(counted) < 10:
        page = (await bulk(site, "cancel", wanted)).json
        counted.append(page["matching"])
        if "next" not in page:
            break
        wanted["before"] = page["next"]
    assert sum(counted) == 7
    assert max(counted) == 2


async def test_a_retry_of_many_goes_page_by_page_with_the_reason_in_each_history(
    site: Site,
) -> None:
    dead = [(await site.submit()).taken for _ in range(5)]  # within one millisecond
    for each in dead:
        await die(site, each)
    wanted, done = {"state": "dead", "limit": "2"}, 0
    for _ in range(10):
        page = (await bulk(site, "retry", wanted, dryRun=False)).json
        assert not page["failed"]
        done += page["done"]
        if "next" not in page:
            break
        wanted["before"] = page["next"]
    assert done == 5
    for each in dead:
        assert await state(site, each) is State.RECEIVED
        last = (await site.store.history(each))[-1]
        assert (last["event"], last["by"], last["reason"]) == (
            "Retried",
            "olga",
            "the desk is back",
        )


async def test_one_that_cannot_be_done_does_not_stop_the_others(site: Site) -> None:
    good, doubtful = (await site.submit()).taken, (await site.submit()).taken
    await hold(site.store, good)
    await hold(site.store, doubtful, in_doubt=True)
    site.desk.finds = False
    page = (await bulk(site, "retry", {"state": "held"}, dryRun=False)).json
    assert (page["matching"], page["done"]) == (2, 1)
    assert page["failed"][0]["correlationId"] == doubtful
    assert "noTicketExists" in page["failed"][0]["error"]
    assert await state(site, good) is State.RECEIVED


async def test_a_cancel_of_many_leaves_decided_ones_alone(site: Site) -> None:
    waiting, decided = (await site.submit()).taken, (await site.submit()).taken
    await decide(site.store, decided)
    page = (await bulk(site, "cancel", {"state": "received,decided"}, dryRun=False)).json
    assert page == {"matching": 1, "done": 1, "failed": []}
    assert await state(site, waiting) is State.DECIDED


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"reason": "r"}, "filter: Field required"),
        ({"reason": "r", "filter": {}}, "filter.state: Field required"),
        ({"reason": "r", "filter": {"state": "", "system": "desk"}}, "filter.state: "),
        ({"reason": "r", "filter": {"state": "dead", "ticket": "T1"}}, "filter.ticket: "),
        ({"reason": "r", "filter": {"state": "ded"}}, "filter.state"),
        ({"reason": "r", "filter": {"state": "dead", "sytem": "desk"}}, "sytem"),
        ({"reason": "r", "filter": {"state": "dead"}, "dryRun": "no"}, "dryRun"),
        ({"filter": {"state": "dead"}}, "reason"),
    ],
)
async def test_a_slip_names_no_request(site: Site, asked: dict[str, Any], named: str) -> None:
    answer = await site.call("POST", "/api/bulk/cancel", key=OPERATOR_KEY, json=asked)
    answer.refused(400, named)


async def test_only_operators_get_in(site: Site) -> None:
    for key in (None, WITBOOST_KEY):
        for action in ("retry", "cancel"):
            answer = await site.call("POST", f"/api/bulk/{action}", key=key, json={})
            answer.refused(401, "X-API-Key")


async def test_the_list_takes_the_same_filter(site: Site) -> None:
    held = (await site.submit()).taken
    await hold(site.store, held)
    await site.submit()
    for query, count in (("code=look", 1), ("system=desk", 2), ("instance=other", 0)):
        page = (await site.call("GET", f"/api/requests?{query}", key=OPERATOR_KEY)).json
        assert len(page["requests"]) == count, query


async def test_a_request_set_aside_says_what_to_do(site: Site) -> None:
    dead = (await site.submit()).taken
    await die(site, dead)
    shown = await site.call("GET", f"/api/requests/{dead}", key=OPERATOR_KEY)
    assert shown.json["whatToDo"] == REMEDIATION["gave_up"]


def test_there_is_advice_for_every_reason_and_no_other() -> None:
    package = Path(proxy.__file__).parent
    sources = [package / "flow.py", *(package / "engine").glob("*.py")]
    call = re.compile(r"\.(?:hold|give_up)\(\s*\"(\w+)\"")
    found = {code for path in sources for code in call.findall(path.read_text())}
    assert found | {GUARDED} == set(REMEDIATION)
