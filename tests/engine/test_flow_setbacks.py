"""What goes wrong between the program and its neighbours, and what it does then."""

from typing import Any

import pytest

from proxy.domain.models import State
from proxy.errors import StoreUnavailableError
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_operators import act, blind_desk
from tests.support.rig import EVENT_SECRET, GRANT, Rig, desk_tree

SECOND = 1_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE


async def opened(rig: Rig, **fields: Any) -> Any:
    call = await rig.ask({**GRANT, **fields})
    await rig.work()
    return call


async def decided(rig: Rig, status: str = "approved") -> Any:
    call = await opened(rig)
    rig.desk.decide(rig.tickets()[-1]["id"], status, by="olga")
    return call


# -- creating ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("create", "reset", after_effect=True),
        Fault("create", "reset"),
        Fault("create", "answer", status=500, after_effect=True),
        Fault("create", "answer", status=503),
        Fault("create", "answer", status=429, retry_after="3"),
        Fault("create", "slow", seconds=3.0, after_effect=True),
        Fault("token", "answer", status=503),
        Fault("token", "reset"),
        Fault("create", "expire"),
    ],
    ids=lambda fault: f"{fault.operation}-{fault.kind}-{fault.status}-{fault.after_effect}",
)
async def test_one_ticket_whatever_happens_to_the_create(rig: Rig, fault: Fault) -> None:
    rig.desk.switch_on(fault)
    call = await opened(rig)
    for _ in range(4):
        await rig.work(after=10 * SECOND)
    assert len(rig.tickets()) == 1
    assert await rig.state(call) is State.PENDING


async def test_a_look_up_waits_until_a_ticket_must_be_visible(rig: Rig) -> None:
    """The index lags 5 s: looking earlier would miss the ticket and create a second one."""
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    call = await opened(rig)
    finds = len(rig.desk.journal.of("find"))
    await rig.work(after=6 * SECOND)  # deadline 2 s + settle 5 s
    assert len(rig.desk.journal.of("find")) == finds
    assert await rig.state(call) is State.OPENING
    await rig.work(after=2 * SECOND)
    assert await rig.state(call) is State.PENDING


async def test_a_refused_create_is_dead_with_the_reason(rig: Rig) -> None:
    rig.desk.switch_on(
        Fault("create", "answer", status=422, body={"error": {"message": "title is bad"}})
    )
    call = await opened(rig)
    entry = await rig.entry(call)
    assert entry.record.state is State.DEAD
    assert "title is bad" in entry.details.reason


async def test_a_refused_create_may_be_a_decision(open_rig: OpenRig) -> None:
    routes = [{"name": "default", "system": "desk", "on_refusal": "fail"}]
    async with open_rig(routes=routes) as rig:
        rig.desk.switch_on(Fault("create", "answer", status=422))
        call = await opened(rig)
        assert (rig.final(call) or {})["status"] == "KO"


async def test_several_tickets_follow_the_oldest_and_alarm(rig: Rig) -> None:
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    call = await opened(rig)
    rig.desk.tickets.add(rig.tickets()[0], pages=rig.desk.url, now=rig.clock.now() + 1)
    await rig.work(after=10 * SECOND)
    assert (await rig.entry(call)).record.ticket_id == rig.tickets()[0]["id"]
    assert "several_tickets" in _alarms(rig)


# -- configuration ---------------------------------------------------------------------------------


async def test_a_refused_client_pauses_the_desk_and_work_goes_on_by_itself(rig: Rig) -> None:
    rig.desk.authorization.refuse_client = True
    calls = [await rig.ask() for _ in range(3)]
    for _ in range(5):
        await rig.work(after=2 * MINUTE)
    for call in calls:
        record = (await rig.entry(call)).record
        assert (record.state, record.attempt, record.waited) == (State.RECEIVED, 0, 0)
    asked = rig.desk.authorization.requests
    assert asked <= 1 + 5 * 2, "a paused destination is probed, not hammered"
    assert (await rig.program.pause_store.pauses())["desk"].since
    rig.desk.authorization.refuse_client = False
    for _ in range(3):
        await rig.work(after=2 * MINUTE)
    assert len(rig.tickets()) == 3
    assert not (await rig.program.pause_store.pauses())["desk"].since
    assert {"destination_paused", "destination_resumed"} <= _alarms(rig)


async def test_one_refused_request_never_blocks_the_others(rig: Rig) -> None:
    first = await rig.ask()
    rig.desk.switch_on(
        Fault("create", "answer", status=403, times=None, subject=first.correlation_id)
    )
    await rig.work()
    others = [await rig.ask() for _ in range(3)]
    for _ in range(6):
        await rig.work(after=2 * MINUTE)
    entry = await rig.entry(first)
    assert entry.record.state is State.HELD
    assert "Other requests succeed" in entry.details.reason
    for call in others:
        assert await rig.state(call) is State.PENDING


# -- reading ---------------------------------------------------------------------------------------


async def test_an_unknown_status_is_pending_and_an_alarm(open_rig: OpenRig) -> None:
    def declare(url: str) -> dict[str, Any]:
        tree = desk_tree(url)
        del tree["decision"]["in_review"]
        return tree

    async with open_rig(declare=declare) as rig:
        call = await opened(rig)
        rig.desk.decide(rig.tickets()[0]["id"], "in_review")
        await rig.work(after=2 * SECOND)
        assert await rig.state(call) is State.PENDING
        assert "unknown_native_status" in _alarms(rig)


async def test_a_ticket_that_is_not_shown_is_never_a_decision(rig: Rig) -> None:
    call = await opened(rig)
    rig.desk.switch_on(Fault("read", "answer", status=404, times=None))
    for _ in range(8):
        await rig.work(after=5 * MINUTE)
    entry = await rig.entry(call)
    assert (entry.record.state, entry.record.code) == (State.HELD, "ticket_missing")
    assert rig.final(call) is None


async def test_a_stale_read_after_an_event_never_decides_early(rig: Rig) -> None:
    rig.desk.switch_on(Fault("read", "stale", times=2))
    call = await opened(rig)
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await rig.desk.events_sent()
    await rig.work()
    assert rig.final(call) is None
    for _ in range(3):
        await rig.work(after=5 * SECOND)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_a_decision_that_changes_while_access_is_awaited_is_an_alarm(
    open_rig: OpenRig,
) -> None:
    async with open_rig(routes=[FULFILMENT]) as rig:
        call = await decided(rig)
        await rig.work(after=2 * SECOND)
        assert await rig.state(call) is State.FULFILLING
        rig.desk.decide(rig.tickets()[0]["id"], "rejected")
        await rig.work(after=10 * SECOND)
        record = (await rig.entry(call)).record
        assert (str(record.decision), record.conflicts) == ("approved", 1)
        assert "decision_conflict" in _alarms(rig)


# -- deadlines -------------------------------------------------------------------------------------

FULFILMENT = {"name": "default", "system": "desk", "callback_on": "fulfilment"}


@pytest.mark.parametrize(
    ("outcome", "decision"), [("reject", "expired"), ("fail", "failed"), ("hold", "None")]
)
async def test_a_passed_deadline_has_the_configured_outcome(
    open_rig: OpenRig, outcome: str, decision: str
) -> None:
    routes = [{"name": "default", "system": "desk", "on_deadline": outcome}]
    async with open_rig(routes=routes) as rig:
        call = await opened(rig)
        await rig.work(after=31 * DAY)
        record = (await rig.entry(call)).record
        assert str(record.decision) == decision
        held = outcome == "hold"
        assert (record.state is State.HELD) == held
        assert (rig.final(call) is None) == held
        await rig.work(after=31 * DAY)  # it fires once
        assert (await rig.entry(call)).record.state is record.state


async def test_before_the_deadline_decides_the_ticket_is_read_once_more(rig: Rig) -> None:
    call = await opened(rig)
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    await rig.work(after=31 * DAY)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_a_dead_request_without_decision_still_meets_its_deadline(rig: Rig) -> None:
    rig.desk.switch_on(Fault("create", "answer", status=422))
    call = await opened(rig)
    assert await rig.state(call) is State.DEAD
    await rig.work(after=31 * DAY)
    assert (rig.final(call) or {})["status"] == "KO"
    assert rig.tickets() == []


async def test_no_ticket_is_opened_after_the_deadline(rig: Rig) -> None:
    call = await rig.ask()
    await rig.work(after=31 * DAY)
    assert rig.tickets() == []
    assert (rig.final(call) or {})["status"] == "KO"


async def test_a_create_in_doubt_is_looked_up_at_the_deadline(rig: Rig) -> None:
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    call = await opened(rig)
    rig.desk.decide(rig.tickets()[0]["id"], "approved")
    for _ in range(3):
        await rig.work(after=31 * DAY)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_while_the_ticket_cannot_be_read_the_deadline_waits_with_an_alarm(rig: Rig) -> None:
    call = await opened(rig)
    await rig.desk.down()
    for _ in range(3):
        await rig.work(after=31 * DAY)
    assert rig.final(call) is None
    assert "ticket_unreadable_at_deadline" in _alarms(rig)
    await rig.desk.up()
    await rig.work(after=DAY)
    assert (rig.final(call) or {})["status"] == "KO"


async def test_access_is_reported_when_it_is_there(open_rig: OpenRig) -> None:
    async with open_rig(routes=[FULFILMENT]) as rig:
        call = await decided(rig)
        await rig.work(after=2 * SECOND)
        assert rig.final(call) is None, "approved is not granted"
        rig.desk.decide(rig.tickets()[0]["id"], "done")
        await rig.work(after=10 * SECOND)
        assert (rig.final(call) or {})["status"] == "OK"


@pytest.mark.parametrize("outcome", ["hold", "fail"])
async def test_access_that_never_comes(open_rig: OpenRig, outcome: str) -> None:
    async with open_rig(routes=[{**FULFILMENT, "on_fulfilment_deadline": outcome}]) as rig:
        call = await decided(rig)
        await rig.work(after=2 * SECOND)
        await rig.work(after=8 * DAY)
        if outcome == "hold":
            assert await rig.state(call) is State.HELD
        else:
            assert (rig.final(call) or {})["status"] == "KO"


@pytest.mark.parametrize("outcome", ["hold", "fail"])
async def test_a_ticket_that_vanishes_after_its_approval_ends_at_that_deadline(
    open_rig: OpenRig, outcome: str
) -> None:
    """Nobody will ever read there that the access is granted."""
    async with open_rig(routes=[{**FULFILMENT, "on_fulfilment_deadline": outcome}]) as rig:
        call = await decided(rig)
        await rig.work(after=2 * SECOND)
        rig.desk.switch_on(Fault("read", "answer", status=404, times=None))
        await rig.work(after=6 * DAY)
        assert await rig.state(call) is State.FULFILLING
        await rig.work(after=2 * DAY)
        if outcome == "hold":
            assert await rig.state(call) is State.HELD
        else:
            assert (rig.final(call) or {})["status"] == "KO"


async def test_a_desk_that_is_down_at_that_deadline_is_waited_for_with_an_alarm(
    open_rig: OpenRig,
) -> None:
    async with open_rig(routes=[{**FULFILMENT, "on_fulfilment_deadline": "fail"}]) as rig:
        call = await decided(rig)
        await rig.work(after=2 * SECOND)
        down = rig.desk.switch_on(Fault("read", "answer", status=503, times=None))
        await rig.work(after=8 * DAY)
        assert await rig.state(call) is State.FULFILLING
        assert "ticket_unreadable_at_deadline" in _alarms(rig)
        down.off()
        rig.desk.decide(rig.tickets()[0]["id"], "done")
        await rig.work(after=15 * MINUTE)
        assert (rig.final(call) or {})["status"] == "OK"


# -- calling back ----------------------------------------------------------------------------------


async def test_a_lost_answer_to_a_callback_is_repeated_until_witboost_says_closed(rig: Rig) -> None:
    rig.witboost.switch_on(Fault("callback", "reset", after_effect=True))
    call = await decided(rig)
    await rig.work(after=2 * SECOND)
    assert await rig.state(call) is State.DECIDED
    await rig.work(after=10 * SECOND)
    assert await rig.state(call) is State.DONE
    assert "earlier attempt arrived" in (await rig.entry(call)).details.reason
    bodies = [attempt["body"] for attempt in rig.witboost.attempts(call.hook_id)]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1], "the same body on every attempt"


async def test_a_conflict_on_the_first_callback_is_held(rig: Rig) -> None:
    rig.witboost.switch_on(Fault("callback", "answer", status=409))
    call = await decided(rig)
    await rig.work(after=2 * SECOND)
    entry = await rig.entry(call)
    assert (entry.record.state, entry.record.code) == (State.HELD, "callback_conflict")


async def test_a_conflict_after_a_refused_callback_is_held(rig: Rig) -> None:
    """A 429 had no effect, so a later 409 is not its echo."""
    rig.witboost.switch_on(Fault("callback", "answer", status=429))
    call = await decided(rig)
    await rig.work(after=2 * SECOND)
    rig.witboost.switch_on(Fault("callback", "answer", status=409))
    await rig.work(after=10 * SECOND)
    assert await rig.state(call) is State.HELD


async def test_retry_after_is_respected(rig: Rig) -> None:
    rig.witboost.switch_on(Fault("callback", "answer", status=503, retry_after="600"))
    call = await decided(rig)
    await rig.work(after=2 * SECOND)
    await rig.work(after=590 * SECOND)
    assert rig.final(call) is None
    await rig.work(after=20 * SECOND)
    assert (rig.final(call) or {})["status"] == "OK"


async def test_witboost_down_for_days_is_dead_and_final(rig: Rig) -> None:
    call = await decided(rig)
    await rig.witboost.down()
    for _ in range(320):
        await rig.work(after=18 * MINUTE)
    record = (await rig.entry(call)).record
    assert (record.state, record.code) == (State.DEAD, "gave_up")
    assert record.final


async def test_a_desk_that_fails_one_create_again_and_again_is_asked_less_and_less(
    rig: Rig,
) -> None:
    """Each answer leaves a doubt, and its look-up finds nothing: that is no reason to hurry."""
    rig.desk.switch_on(Fault("create", "answer", status=500, times=None))
    await rig.ask()
    for _ in range(60):
        await rig.work(after=MINUTE)
    assert 5 < len(rig.desk.journal.of("find")) < 15


async def test_a_desk_that_asks_for_time_with_a_create_gets_it(rig: Rig) -> None:
    rig.desk.switch_on(Fault("create", "answer", status=503, retry_after="600"))
    await rig.ask()
    await rig.work()
    for _ in range(9):
        await rig.work(after=MINUTE)
    assert rig.tickets() == []
    await rig.work(after=MINUTE)
    assert len(rig.tickets()) == 1


@pytest.mark.parametrize("made", [True, False])
async def test_a_conflict_with_our_own_ticket_is_that_ticket(rig: Rig, *, made: bool) -> None:
    """A system that takes each correlation id once says so of a create that arrived after all."""
    rig.desk.switch_on(Fault("create", "answer", status=409, after_effect=made))
    call = await rig.ask()
    await rig.work()
    assert len(rig.tickets()) == made
    entry = await rig.entry(call)
    assert entry.record.state is (State.PENDING if made else State.DEAD)
    assert entry.record.code == ("" if made else "refused")
    refused = "desk refused to create the ticket: desk answered 409"
    assert made or entry.details.reason.startswith(refused)


async def test_a_create_that_was_given_up_leaves_no_doubt(open_rig: OpenRig) -> None:
    """No answer of those days can have made a ticket: an operator need not vouch for it."""
    async with open_rig(declare=blind_desk) as rig:
        refusal = rig.desk.switch_on(Fault("create", "answer", status=429, times=None))
        call = await rig.ask()
        for _ in range(320):
            await rig.work(after=18 * MINUTE)
        entry = await rig.entry(call)
        assert (entry.record.state, entry.record.code) == (State.DEAD, "gave_up")
        assert "Tried for 3d" in entry.details.reason
        refusal.off()
        assert (await act(rig, call, "retry"))[0] == 200
        await rig.work()
        assert await rig.state(call) is State.PENDING
        assert len(rig.tickets()) == 1


async def test_retention_removes_a_finished_request(rig: Rig) -> None:
    call = await decided(rig)
    await rig.work(after=2 * SECOND)
    assert await rig.state(call) is State.DONE
    await rig.work(after=91 * DAY)
    assert await rig.program.store.load(str(call.correlation_id)) is None


async def test_retention_forgets_the_former_keys_of_a_ticket_too(rig: Rig) -> None:
    """A ticket that is moved to another project gets another key; its id stays."""
    call = await opened(rig)
    await rig.work(after=2 * SECOND)
    ticket = rig.desk.tickets.get("1001")
    assert ticket is not None
    ticket.fields["key"] = "MOVED-1"
    await rig.work(after=MINUTE)
    assert (await rig.entry(call)).record.ticket_key == "MOVED-1"
    assert await rig.program.store.find("desk", ["MOVED-1"]) == [call.correlation_id]
    rig.desk.decide("1001", "approved")
    await rig.work(after=MINUTE)
    await rig.work(after=91 * DAY)
    assert await rig.program.store.find("desk", ["DESK-1", "MOVED-1", "1001"]) == []


# -- the store -------------------------------------------------------------------------------------


async def test_a_store_that_is_gone_for_a_while_is_one_alarm_of_the_worker(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tries each second: an outage of an hour must not be thousands of alarms."""
    turns = iter(
        [StoreUnavailableError("gone", maybe_sent=False)] * 3
        + [None, StoreUnavailableError("gone")]
    )
    worker = rig.program.worker()

    async def turn() -> None:
        error = next(turns, None)
        if error is not None:
            raise error
        worker._stopping = next(more, True)

    more = iter([False])

    async def sleep(_seconds: float) -> None:
        pass

    monkeypatch.setattr(worker, "_claim_or_sleep", turn)
    monkeypatch.setattr(worker, "_sleep", sleep)
    await worker.run()
    assert 'store_unreachable"} 2.0' in rig.program.metrics.text().decode()


# -- events ----------------------------------------------------------------------------------------


async def test_a_flood_of_events_costs_a_bounded_number_of_reads(rig: Rig) -> None:
    await opened(rig)
    await rig.work(after=2 * SECOND)
    reads = len(rig.desk.journal.of("read"))
    for _ in range(50):
        rig.desk.decide(rig.tickets()[0]["id"], "in_review")
        await rig.desk.events_sent()
        await rig.work()
    assert len(rig.desk.journal.of("read")) - reads <= 3


async def test_an_early_event_is_dropped_and_nothing_is_lost(open_rig: OpenRig) -> None:
    async with open_rig(desk={"announce_created": True, "auto_decide": ("approved",)}) as rig:
        call = await opened(rig)
        await rig.desk.events_sent()
        await rig.work(after=2 * SECOND)
        assert (rig.final(call) or {})["status"] == "OK"


async def test_an_event_without_the_right_secret_is_refused(open_rig: OpenRig) -> None:
    async with open_rig(desk={"event_secret": EVENT_SECRET + "x"}) as rig:
        call = await opened(rig)
        for _ in range(10):
            await rig.work(after=5 * MINUTE)
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.desk.events_sent()
        await rig.work()
        assert rig.final(call) is None
        assert [entry["answer"] for entry in rig.desk.journal.of("event")] == [401]


def _alarms(rig: Rig) -> set[str]:
    return {
        sample.labels["alarm"]
        for metric in rig.program.metrics.alarms.collect()
        for sample in metric.samples
        if sample.value > 0 and sample.name.endswith("_total")
    }
