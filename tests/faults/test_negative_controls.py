"""Each mechanism, with it and without it: what it promises holds, and breaks when it is gone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from proxy.app.assembly import assemble
from proxy.domain.models import State
from proxy.settings import Settings
from proxy.simulators.faults import Fault
from tests.engine.test_operators import act
from tests.support.faults.removals import without
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import Rig, open_rig

SECOND = 1_000
MINUTE = 60 * SECOND


@pytest.fixture
async def rig(tmp_path: Path, redis_url: str, clock: ManualClock) -> AsyncIterator[Rig]:
    """Without the check of the store at the end: a mechanism that is gone may leave a mess."""
    async with open_rig(tmp_path, redis_url, clock) as rig:
        yield rig


def with_and_without(mechanism: str) -> pytest.MarkDecorator:
    """Run a test twice; without the mechanism its claim must be false."""
    return pytest.mark.parametrize("removed", ["", mechanism], ids=["with it", "without it"])


async def check(rig: Rig, removed: str, *, holds: bool) -> None:
    """Assert that the claim holds exactly where nothing was taken away."""
    if not removed:
        await check_store(rig.program.store)
    assert holds == (not removed), f"without {removed or 'anything'}"


@with_and_without("look-up before a second create")
async def test_a_lost_answer_makes_one_ticket(rig: Rig, removed: str) -> None:
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    await rig.ask()
    with without(removed):
        await rig.work()
        await rig.work(after=8 * SECOND)
    await check(rig, removed, holds=len(rig.tickets()) == 1)


@with_and_without("settle time")
async def test_an_index_that_lags_hides_no_ticket(rig: Rig, removed: str) -> None:
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    rig.desk.switch_on(Fault("find", "lag", times=None, seconds=3))
    await rig.ask()
    with without(removed):
        await rig.work()
        await rig.work(after=2 * SECOND)
        await rig.work(after=6 * SECOND)
    await check(rig, removed, holds=len(rig.tickets()) == 1)


@with_and_without("doubt after a failover")
async def test_a_forgotten_create_is_looked_for(rig: Rig, removed: str) -> None:
    """A replica took over before it knew of the intent: its record says that nothing was sent."""
    store = rig.program.store
    store.run_ids = dict.fromkeys(store.keys.tags(), "the master before")
    call = await rig.ask()
    ticket = {"title": "grant", "correlation_id": str(call.correlation_id)}
    rig.desk.tickets.add(ticket, pages=rig.desk.url, now=rig.clock.now())
    with without(removed):
        await rig.work()
        await rig.work(after=8 * SECOND)
    await check(rig, removed, holds=len(rig.tickets()) == 1)


@with_and_without("ticket reserved")
async def test_two_operators_give_a_ticket_to_one_request_only(rig: Rig, removed: str) -> None:
    """Both have looked whose it is before either writes."""
    rig.desk.switch_on(Fault("create", "answer", status=422, times=None))
    calls = [await rig.ask(), await rig.ask()]
    await rig.work()
    found = {"title": "by hand", "correlation_id": ""}
    rig.desk.tickets.add(found, pages=rig.desk.url, now=rig.clock.now())
    key = rig.tickets()[0]["key"]
    store, both = rig.program.store, asyncio.Barrier(2)
    find = store.find

    async def look_together(system: str, refs: Sequence[str]) -> list[str]:
        owners = await find(system, refs)
        await both.wait()
        return owners

    with without(removed), patch.object(store, "find", look_together):
        answers = await asyncio.gather(*(act(rig, it, "attach", ticketKey=key) for it in calls))
    await check(rig, removed, holds=sorted(status for status, _ in answers) == [200, 400])


@with_and_without("fence")
async def test_a_worker_that_lost_its_lease_writes_nothing(rig: Rig, removed: str) -> None:
    """It read a rejection, slept past its lease, and meanwhile another reported the approval."""
    rig.desk.events.target = None
    call = await rig.ask()
    await rig.work()
    ticket = rig.tickets()[0]["id"]
    rig.desk.decide(ticket, "rejected")
    held = rig.desk.switch_on(Fault("read", "hang", after_effect=True))
    rig.clock.advance(2 * SECOND)
    with without(removed):
        asleep = asyncio.create_task(rig.worker.run_due())
        await held.triggered()
        rig.desk.decide(ticket, "approved")
        rig.clock.advance(61 * SECOND)
        await rig.program.worker().run_due()
        rig.desk.faults.switch_off("read")
        await asleep
    said = {entry["body"]["status"] for entry in rig.witboost.attempts(call.hook_id)}
    stands = await rig.state(call) is State.DONE
    await check(rig, removed, holds=stands and said == {"OK"})


@with_and_without("state index")
async def test_indices_are_compared_with_records(rig: Rig, removed: str) -> None:
    await rig.ask()
    with without(removed):
        await rig.work()
    try:
        await check_store(rig.program.store)
    except AssertionError:
        holds = False
    else:
        holds = True
    await check(rig, removed, holds=holds)


@with_and_without("polling")
async def test_a_decision_whose_event_was_lost_is_found(rig: Rig, removed: str) -> None:
    rig.desk.switch_on(Fault("event", "lose", times=None))
    call = await rig.ask()
    with without(removed):
        await rig.work()
        await rig.work(after=2 * SECOND)
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.desk.events_sent()
        for _ in range(12):
            await rig.work(after=5 * MINUTE)
    await check(rig, removed, holds=rig.final(call) is not None)


@with_and_without("unknown is pending")
async def test_an_unknown_status_never_approves(rig: Rig, removed: str) -> None:
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "escalated")
    with without(removed):
        await rig.work(after=2 * SECOND)
    await check(rig, removed, holds=rig.final(call) is None)


@with_and_without("token dropped on 401")
async def test_a_revoked_token_is_renewed_at_once(rig: Rig, removed: str) -> None:
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    rig.desk.switch_on(Fault("read", "expire"))
    with without(removed):
        for _ in range(10):
            await rig.work(after=MINUTE)
    await check(rig, removed, holds=rig.final(call) is not None)
    if not removed:
        assert len(rig.desk.journal.of("refused")) == 1


@with_and_without("sending stored before the callback")
async def test_a_conflict_after_a_lost_answer_means_done(rig: Rig, removed: str) -> None:
    rig.witboost.switch_on(Fault("callback", "reset", after_effect=True))
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    with without(removed):
        await rig.work(after=2 * SECOND)
        await rig.work(after=MINUTE)
    assert [entry["answer"] for entry in rig.witboost.journal.of("callback")] == [200, 409]
    await check(rig, removed, holds=await rig.state(call) is State.DONE)


@with_and_without("URL checked again")
async def test_a_url_that_is_allowed_no_more_is_not_called(rig: Rig, removed: str) -> None:
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    rig.clock.advance(2 * SECOND)
    with without(removed):
        settings = moved_away(rig)
        async with assemble(settings, clock=rig.clock, dice=lambda: 0.5) as program:
            await program.worker().run_due()
    await check(rig, removed, holds=rig.witboost.attempts(call.hook_id) == [])


def moved_away(rig: Rig) -> Settings:
    """Return the settings with other callback URLs, at the same origin."""
    settings = rig.program.settings
    main = settings.witboost["main"]
    moved = main.model_copy(update={"callback_urls": (f"{rig.witboost.url}/elsewhere/",)})
    return settings.model_copy(update={"witboost": {"main": moved}})
