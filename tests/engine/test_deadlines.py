"""Who decides when the ticket does not: a rule at once, or the clock to the millisecond."""

from collections.abc import Mapping
from typing import Any

import pytest

from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_history import SENDING, Line
from tests.engine.test_operators import blind_desk
from tests.engine.test_story_routes import ROUTES
from tests.support.rig import GRANT
from tests.support.watching import (
    CALLED_BACK,
    DAY,
    DOUBTED,
    IN_DOUBT,
    RETENTION,
    SECOND,
    TOLD,
    at,
    opened,
    swallow,
    unreadable,
    watch,
    watch_forgotten,
)


@pytest.mark.parametrize(
    ("fields", "decision", "rule"),
    [({"verb": "revoke"}, "approved", ROUTES[0]), ({"domain": "secrets"}, "rejected", ROUTES[1])],
)
async def test_what_a_rule_decides_at_once(
    open_rig: OpenRig,
    caplog: pytest.LogCaptureFixture,
    fields: Mapping[str, str],
    decision: str,
    rule: Mapping[str, str],
) -> None:
    async with open_rig(routes=ROUTES) as rig:
        watched = await watch(rig, caplog, {**GRANT, **fields})
        by, why = f"route {rule['name']}", rule["reason"]
        says = {"decision": decision, "by": by, "comment": why, "evidence": by, "ours": True}
        assert await watched.work() == [(0, "Decided", "decided", says), CALLED_BACK]
        assert await watched.due_in() == RETENTION


def limited(**more: str) -> list[dict[str, str]]:
    return [{"name": "default", "system": "desk", "decision_deadline": "1d", **more}]


def expired(decision: str = "expired") -> Line:
    evidence = "No decision before the deadline"
    return (0, "Decided", "decided", {"decision": decision, "evidence": evidence, "ours": True})


@pytest.mark.parametrize(("on_deadline", "decision"), [("reject", "expired"), ("fail", "failed")])
async def test_a_deadline_decides_to_the_millisecond(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, on_deadline: str, decision: str
) -> None:
    async with open_rig(routes=limited(on_deadline=on_deadline)) as rig:
        watched = await opened(rig, caplog)
        assert await watched.work(after=DAY - 1) == []
        assert await watched.due_in() == 1
        news = at(DAY, expired(decision), CALLED_BACK, TOLD)
        assert await watched.work(after=1) == news
        assert await watched.due_in() == RETENTION
        assert watched.alarms() == []


async def test_a_deadline_may_hold_for_a_person_once(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(routes=limited(on_deadline="hold")) as rig:
        watched = await opened(rig, caplog)
        says = {"code": "decision_deadline", "reason": "No decision before the deadline"}
        held = (DAY, "Held", "held", {**says, "fired": True})
        assert await watched.work(after=DAY) == [held]
        assert await watched.due_in() is None
        assert [alarm for alarm, _ in watched.alarms()] == ["request_held"]


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_deadline_waits_for_a_ticket_that_cannot_be_read(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    async with open_rig(routes=limited()) as rig:
        watched = await opened(rig, caplog)
        times = 2 if status == 401 else 1  # a 401 is answered with a fresh token first
        rig.desk.switch_on(Fault("read", "answer", status=status, times=times))
        says: dict[str, Any] = {"code": "unreachable", "delay": SECOND}
        if status == 401:
            says = {"code": "paused", "refused": True}
        waits: Line = (DAY, "Postponed", "pending", {**says, "reason": unreadable(status)})
        assert await watched.work(after=DAY) == [waits]
        assert await watched.due_in() == (10 * SECOND if status == 401 else SECOND)
        alarm, message = watched.alarms()[0]
        assert alarm == "ticket_unreadable_at_deadline"
        assert "Ticket DESK-1" in message
        assert f"answered {status}" in message
        due = await watched.due_in() or 0
        assert await watched.work(after=due) == at(DAY + due, expired(), CALLED_BACK, TOLD)


@pytest.mark.parametrize("made", [True, False])
async def test_at_the_deadline_a_ticket_in_doubt_is_looked_for_once_it_must_be_visible(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, *, made: bool
) -> None:
    async with open_rig(routes=limited()) as rig:
        watched = await watch(rig, caplog)
        rig.clock.advance(DAY - 2 * SECOND)
        rig.desk.switch_on(Fault("create", "reset", after_effect=made))
        begin = DAY - 2 * SECOND
        assert await watched.work() == at(begin, SENDING, IN_DOUBT)
        assert await watched.due_in() == 2 * SECOND
        assert await watched.work(after=2 * SECOND) == []
        assert await watched.due_in() == 5 * SECOND
        news = await watched.work(after=5 * SECOND)
        if made:
            assert [line[:3] for line in news] == [(DAY + 5 * SECOND, "Opened", "pending")]
            news = await watched.work(after=SECOND)
            assert news == at(DAY + 6 * SECOND, expired(), CALLED_BACK, TOLD)
        else:
            nothing = (0, "Told", "done", {"note": "no ticket was opened"})
            assert news == at(DAY + 5 * SECOND, expired(), CALLED_BACK, nothing)


@pytest.mark.parametrize("made", [True, False])
async def test_at_the_deadline_a_create_that_the_store_may_have_forgotten_is_looked_for(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, *, made: bool
) -> None:
    async with open_rig(routes=limited()) as rig:
        watched = await watch_forgotten(rig, caplog)
        if made:
            swallow(watched)
        assert await watched.work(after=DAY) == at(DAY, DOUBTED)
        assert await watched.work(after=7 * SECOND - 1) == []
        news = await watched.work(after=1)
        if made:
            assert [line[:3] for line in news] == [(DAY + 7 * SECOND, "Opened", "pending")]
            news = await watched.work(after=SECOND)
            assert news == at(DAY + 8 * SECOND, expired(), CALLED_BACK, TOLD)
            assert rig.tickets()[0]["status"] == "cancelled"
        else:
            nothing = (0, "Told", "done", {"note": "no ticket was opened"})
            assert news == at(DAY + 7 * SECOND, expired(), CALLED_BACK, nothing)


async def test_where_nobody_can_look_the_deadline_decides_and_a_person_hears_of_the_doubt(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(routes=limited(), declare=blind_desk) as rig:
        watched = await watch_forgotten(rig, caplog)
        news = await watched.work(after=DAY)
        assert news == at(DAY, DOUBTED, expired(), CALLED_BACK)
        untold = (
            0,
            "Told",
            "done",
            {"note": "not notified: desk may hold one, and cannot be asked for it"},
        )
        assert await watched.work(after=7 * SECOND) == at(DAY + 7 * SECOND, untold)
        assert [alarm for alarm, _ in watched.alarms()] == ["ticket_untold"]
