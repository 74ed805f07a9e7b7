"""What a ticket says, and what its request waits for then."""

from typing import Any

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_history import decided
from tests.engine.test_operators import act
from tests.support.rig import Rig, desk_tree
from tests.support.watching import DAY, MINUTE, SECOND, TICKET, opened, unreadable, watch


async def test_a_ticket_that_is_not_shown_is_looked_for_again_and_then_held(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.switch_on(Fault("read", "answer", status=404, times=None))
    says = {"code": "ticket_missing", "reason": unreadable(404)}
    at, pause = 0, SECOND
    for delay in (1_000, 1_500, 2_250, 3_375):
        at += pause
        missing = (at, "Missing", "pending", {**says, "delay": delay})
        assert await watched.work(after=pause - 1) == []
        assert await watched.work(after=1) == [missing]
        assert await watched.due_in() == delay
        pause = delay
    assert watched.alarms() == []
    assert await watched.work(after=pause) == [(at + pause, "Held", "held", says)]
    assert [alarm for alarm, _ in watched.alarms()] == ["request_held"]


async def test_a_status_that_the_map_does_not_know_is_one_alarm(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.decide("1001", "frozen")
    says = {"ticket": {**TICKET, "native_status": "frozen"}}
    assert await watched.work(after=SECOND) == [(SECOND, "Read", "pending", says)]
    assert await watched.due_in() == SECOND
    [(alarm, message)] = watched.alarms()
    assert alarm == "unknown_native_status"
    assert message.startswith("Ticket DESK-1 has the status 'frozen', which")
    assert await watched.work(after=SECOND) == []
    assert await watched.due_in() == 1_500
    assert watched.alarms() == []


@pytest.mark.parametrize("status", [401, 422, 500])
async def test_a_read_that_fails_is_made_again_or_held(
    rig: Rig, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    watched = await opened(rig, caplog)
    times = 2 if status == 401 else 1  # a 401 is answered with a fresh token first
    rig.desk.switch_on(Fault("read", "answer", status=status, times=times))
    [(at, event, state, says)] = await watched.work(after=SECOND)
    assert (at, says["reason"]) == (SECOND, unreadable(status))
    said = (event, state, says["code"], says.get("delay"), says.get("refused"))
    assert (
        said
        == {
            401: ("Postponed", "pending", "paused", None, True),
            422: ("Held", "held", "refused", None, None),
            500: ("Postponed", "pending", "unreachable", SECOND, None),
        }[status]
    )
    due = {401: 10 * SECOND, 422: 30 * DAY - SECOND, 500: SECOND}
    assert await watched.due_in() == due[status]


async def test_an_approval_that_a_guard_holds_says_why_and_what_to_do(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.decide("1001", "approved", by="john.doe@company.com")
    [(at, event, state, says)] = await watched.work(after=SECOND)
    assert (at, event, state, says["code"]) == (SECOND, "Held", "held", "guarded")
    assert says["reason"].startswith("Ticket DESK-1 is approved, but it was approved by john.doe@")
    assert "`requests release` it" in says["reason"]
    assert [alarm for alarm, _ in watched.alarms()] == ["request_held"]


FULFILMENT = {"name": "default", "system": "desk", "callback_on": "fulfilment"}


@pytest.mark.parametrize("ending", ["hold", "fail"])
async def test_a_reversal_while_access_is_awaited_and_access_that_never_comes(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    async with open_rig(routes=[{**FULFILMENT, "on_fulfilment_deadline": ending}]) as rig:
        watched = await opened(rig, caplog)
        rig.desk.decide("1001", "approved")
        by = rig.clock.now() + SECOND + 7 * DAY
        assert await watched.work(after=SECOND) == [
            decided(SECOND),
            (SECOND, "FulfilmentAwaited", "fulfilling", {"by": by}),
        ]
        at = 2 * SECOND
        for native, decision in [("rejected", "rejected"), ("in_review", None)]:
            rig.desk.decide("1001", native, comment="no")
            says = {"decision": decision, "by": "olga", "native_status": native, "comment": "no"}
            reversal = (at, "Decided", "fulfilling", {**says, "evidence": f"desk DESK-1: {native}"})
            read = {"ticket": {**TICKET, "native_status": native}}
            news = await watched.work(after=await watched.due_in() or 0)
            at = news[-1][0]
            assert news[-1] == (at, "Read", "fulfilling", read)
            assert news[:-1] == ([reversal] if decision else [])
            assert [alarm for alarm, _ in watched.alarms()] == ["decision_conflict"] * len(news[1:])
            assert await watched.work(after=await watched.due_in() or 0) == []  # it is known
        last = SECOND + 7 * DAY
        news = await watched.work(after=by - rig.clock.now())
        if ending == "hold":
            says = {"code": "fulfilment_deadline", "reason": "Approved, but not fulfilled in time"}
            assert news == [(last, "Held", "held", says)]
            assert await watched.due_in() is None
        else:
            assert news == [
                (last, "Fulfilled", "fulfilling", {"fulfilment": "failed"}),
                (last, "CalledBack", "done", {}),
            ]


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(
    ("action", "fulfilment", "status"),
    [("release", "fulfilled", "OK"), ("reject", "failed", "KO"), ("cancel", "failed", "KO")],
)
async def test_an_operator_says_what_became_of_awaited_access(
    open_rig: OpenRig,
    caplog: pytest.LogCaptureFixture,
    *,
    action: str,
    fulfilment: str,
    status: str,
    held: bool,
) -> None:
    """Somebody saw to it, or nobody will, and the ticket never says so."""
    async with open_rig(routes=[{**FULFILMENT, "fulfilment_deadline": "4s"}]) as rig:
        watched = await opened(rig, caplog)
        rig.desk.decide("1001", "approved")
        await watched.work(after=SECOND)
        last = SECOND
        while held and await rig.state(watched.call) is not State.HELD:
            last += (due := await watched.due_in() or 0)
            await watched.work(after=due)
        assert last == (5 * SECOND if held else SECOND), "to the millisecond, whenever it is read"
        await act(rig, watched.call, action)
        evidence = f"{fulfilment}, says operator alice"
        says = {"fulfilment": fulfilment, "evidence": evidence, "reason": "checked by hand"}
        told = (last, "Fulfilled", "fulfilling", says)
        assert await watched.work() == [told, (last, "CalledBack", "done", {})]
        assert (rig.final(watched.call) or {})["status"] == status
        texts = (await rig.entry(watched.call)).details
        assert texts.evidence == f"desk DESK-1: approved; {evidence}", "a receipt says so, too"


@pytest.mark.parametrize(
    ("listed", "pause"), [("31s", 30 * SECOND), ("30s", 6 * 60 * MINUTE), (None, 30 * SECOND)]
)
async def test_where_changes_are_listed_as_often_a_ticket_is_read_by_itself_as_a_safety_net(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, listed: str | None, pause: int
) -> None:
    changes = {
        "path": "/api/tickets",
        "query": {"updated_since": "{{ since }}"},
        "tickets": "tickets",
        "updated": "updated",
    }

    def declare(url: str) -> dict[str, Any]:
        return desk_tree(url) | ({"changes": changes} if listed else {})

    route = {"name": "default", "system": "desk", "poll": {"first": "30s"}}
    worker = {"changes_every": listed or "30s"}
    async with open_rig(routes=[route], declare=declare, worker=worker) as rig:
        watched = await watch(rig, caplog)
        assert [line[1] for line in await watched.work()] == ["Sending", "Opened"]
        assert await watched.due_in() == 30 * SECOND, "a new one is read soon in any case"
        assert await watched.work(after=30 * SECOND) == []
        assert await watched.due_in() == pause
