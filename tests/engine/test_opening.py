"""What follows the sending of a create: a doubt, a refusal, and what is made of each."""

from typing import Any

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_history import OPENED, SENDING, Line
from tests.engine.test_operators import act, blind_desk
from tests.support.rig import Rig
from tests.support.watching import (
    DAY,
    DOUBTED,
    MINUTE,
    SECOND,
    answered,
    at,
    in_doubt,
    swallow,
    watch,
    watch_forgotten,
)


async def test_of_several_tickets_the_oldest_is_followed(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await in_doubt(rig, caplog, made=True)
    rig.desk.tickets.add(rig.tickets()[0], pages=rig.desk.url, now=rig.clock.now() + 1)
    assert await watched.work(after=7 * SECOND - 1) == []
    at, event, state, says = OPENED
    found = (at + 7 * SECOND, event, state, {**says, "how": "found"})
    assert await watched.work(after=1) == [found]
    assert await watched.due_in() == SECOND
    [(alarm, message)] = watched.alarms()
    assert alarm == "several_tickets"
    assert f"{watched.call.correlation_id}: DESK-1, DESK-2." in message


async def test_a_look_up_that_fails_is_made_again_before_any_create(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await in_doubt(rig, caplog, made=False)
    rig.desk.switch_on(Fault("find", "answer", status=500))
    reason = answered(500, "GET DESK/api/tickets", "find")
    says = {"code": "unreachable", "reason": reason, "delay": 2 * SECOND}
    assert await watched.work(after=7 * SECOND) == [(7 * SECOND, "Postponed", "opening", says)]
    assert await watched.due_in() == 2 * SECOND
    assert [line[1] for line in await watched.work(after=2 * SECOND)] == ["Sending", "Opened"]
    assert watched.alarms() == []


async def test_a_doubt_that_nobody_can_settle_says_what_to_do(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(declare=blind_desk) as rig:
        watched = await in_doubt(rig, caplog, made=True)
        [(_, event, state, says)] = await watched.work(after=7 * SECOND)
        assert (event, state, says["code"]) == ("Held", "held", "create_in_doubt")
        assert says["reason"].startswith("desk may have created a ticket whose answer was lost")
        assert f"Look for {watched.call.correlation_id} there" in says["reason"]
        assert await watched.due_in() == 30 * DAY - 7 * SECOND
        [(alarm, message)] = watched.alarms()
        assert (alarm, says["reason"] in message) == ("request_held", True)


async def test_a_desk_that_takes_a_repeat_for_what_it_is_gets_one(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    def declare(url: str) -> dict[str, Any]:
        tree = blind_desk(url)
        create = {**tree["create"], "headers": {"Idempotency-Key": "{{ correlation_id }}"}}
        return {**tree, "create": create, "idempotent": True}

    async with open_rig(declare=declare, desk={"honour_idempotency_key": True}) as rig:
        watched = await in_doubt(rig, caplog, made=True)
        news = await watched.work(after=7 * SECOND)
        assert [line[1] for line in news] == ["Sending", "Opened"]
        assert len(rig.tickets()) == 1


@pytest.mark.parametrize("short_by", [0, 1])
async def test_a_create_for_which_the_lease_got_too_short_is_not_sent(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, short_by: int
) -> None:
    """The write of the intent took long: what is left must be enough for the whole call."""
    watched = await watch(rig, caplog)
    worker, store = rig.program.settings.worker, rig.program.store
    took = worker.lease - worker.margin - rig.program.systems["desk"].deadline + short_by
    commit = store.commit

    async def commit_slowly(*words: Any, **how: Any) -> Any:
        monkeypatch.undo()
        written = await commit(*words, **how)
        rig.clock.advance(took)
        return written

    monkeypatch.setattr(store, "commit", commit_slowly)
    news = await watched.work()
    if short_by:
        reason = "The lease was too short to send the create"
        late = (took, "NotSent", "received", {"code": "late", "reason": reason})
        assert news == [SENDING, late, *at(took, SENDING, OPENED)]
    else:
        assert [line[1] for line in news] == ["Sending", "Opened"]
    assert len(rig.tickets()) == 1


async def test_a_refused_create_dies_at_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    watched = await watch(rig, caplog)
    rig.desk.switch_on(Fault("create", "answer", status=422))
    refused = answered(422, "POST DESK/api/tickets", "create")
    says = {"code": "refused", "reason": f"desk refused to create the ticket: {refused}"}
    assert await watched.work() == [
        SENDING,
        (0, "NotSent", "received", says),
        (0, "Died", "dead", says),
    ]
    assert await watched.due_in() == 30 * DAY  # its decision deadline
    assert [alarm for alarm, _ in watched.alarms()] == ["request_dead"]


@pytest.mark.parametrize("made", [True, False])
async def test_a_create_that_is_answered_with_a_redirect_is_in_doubt(
    rig: Rig, caplog: pytest.LogCaptureFixture, *, made: bool
) -> None:
    """`303 See Other` often leads to what a POST has just made."""
    watched = await watch(rig, caplog)
    rig.desk.switch_on(Fault("create", "answer", status=303, after_effect=made))
    [_, (_, event, state, says)] = await watched.work()
    assert (event, state, says["code"]) == ("Postponed", "opening", "create_in_doubt")
    assert "desk answered 303" in says["reason"]
    assert await watched.work(after=7 * SECOND - 1) == []
    news = await watched.work(after=1)
    assert [line[1] for line in news] == (["Opened"] if made else ["Sending", "Opened"])
    assert len(rig.tickets()) == 1


async def test_a_create_that_is_always_in_doubt_is_given_up_after_three_days(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Each look-up succeeds, so no pause tells anybody: the request itself must."""
    watched = await watch(rig, caplog)
    switch = rig.desk.switch_on(Fault("create", "answer", status=500, times=None))
    while await rig.state(watched.call) is not State.DEAD:
        await watched.work(after=30 * MINUTE)
        assert rig.clock.now() < (await rig.entry(watched.call)).record.admitted_at + 7 * DAY
    entry = await rig.entry(watched.call)
    assert (entry.record.code, entry.record.sent_at > 0) == ("gave_up", True)
    assert entry.details.reason.startswith("Tried for 3d: desk answered 500 to POST")
    assert [alarm for alarm, _ in watched.alarms()] == ["request_dead"]
    switch.off()
    await act(rig, watched.call, "retry")
    await watched.work(after=7 * SECOND)
    assert await rig.state(watched.call) is State.PENDING
    assert len(rig.tickets()) == 1


async def test_who_alone_is_refused_again_and_again_is_held(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """A token revoked at a bad moment looks the same, so it is tried once more, soon."""
    watched = await watch(rig, caplog)
    subject = watched.call.correlation_id
    rig.desk.switch_on(Fault("create", "answer", status=403, times=None, subject=subject))
    reason = answered(403, "POST DESK/api/tickets", "create")
    says = {"code": "paused", "reason": reason, "refused": True}
    assert await watched.work() == [SENDING, (0, "NotSent", "received", says)]
    assert await watched.due_in() == 10 * SECOND
    assert [alarm for alarm, _ in watched.alarms()] == ["destination_paused"]

    async def another_one_succeeds() -> None:
        rig.clock.advance(5 * SECOND)
        await rig.program.flow._context.pauses.on_success("desk")
        assert [alarm for alarm, _ in watched.alarms()] == ["destination_resumed"]
        assert await watched.due_in() == 0, "it was brought back"

    def refused(at: int) -> list[Line]:
        return [(at, "Sending", "opening", {}), (at, "NotSent", "received", says)]

    await another_one_succeeds()
    assert await watched.work(after=SECOND) == refused(6 * SECOND)
    assert watched.alarms() == []
    assert await watched.work(after=2 * SECOND - 1) == []
    assert await watched.work(after=1) == refused(8 * SECOND)
    assert [alarm for alarm, _ in watched.alarms()] == ["destination_paused"]

    await another_one_succeeds()
    *news, (at, event, state, why) = await watched.work(after=SECOND)
    assert news == refused(14 * SECOND)
    assert (at, event, state, why["code"]) == (14 * SECOND, "Held", "held", "refused")
    assert why["reason"].startswith(f"{reason}. Other requests succeed, so it is about this one")


@pytest.mark.parametrize("made", [True, False])
async def test_a_create_that_another_server_may_have_forgotten_is_looked_for_first(
    rig: Rig, caplog: pytest.LogCaptureFixture, *, made: bool
) -> None:
    """A replica knows nothing of what was sent a moment before it took over, hence the wait."""
    watched = await watch_forgotten(rig, caplog)
    if made:
        swallow(watched)
    assert await watched.work() == [DOUBTED]
    assert await watched.work(after=7 * SECOND - 1) == []
    assert await watched.due_in() == 1
    news = await watched.work(after=1)
    assert [line[1] for line in news] == (["Opened"] if made else ["Sending", "Opened"])
    assert len(rig.tickets()) == 1


async def test_what_was_looked_for_once_is_not_looked_for_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await watch_forgotten(rig, caplog)
    rig.desk.switch_on(Fault("create", "answer", status=429))
    await watched.work()
    assert [line[1] for line in await watched.work(after=7 * SECOND)] == ["Sending", "NotSent"]
    news = await watched.work(after=MINUTE)
    assert [line[1] for line in news] == ["Sending", "Opened"]
    assert len(rig.desk.journal.of("find")) == 1
