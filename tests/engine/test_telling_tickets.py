"""What a ticket hears of the end of its request, and what becomes of it where it cannot."""

from collections.abc import Mapping
from typing import Any

import pytest

from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_history import Line
from tests.engine.test_operators import act, blind_desk
from tests.support.rig import Rig, desk_tree
from tests.support.watching import (
    CALLED_BACK,
    DOUBTED,
    MINUTE,
    RETENTION,
    SECOND,
    TOLD,
    answered,
    at,
    in_doubt,
    opened,
    swallow,
    watch_forgotten,
)

CANCELLED: Line = (
    0,
    "Decided",
    "decided",
    {
        "decision": "cancelled",
        "by": "operator alice",
        "comment": "checked by hand",
        "evidence": "operator alice",
        "ours": True,
    },
)


def told(note: str) -> Line:
    return (0, "Told", "done", {"note": note})


def withdrawing(status: int) -> str:
    return answered(status, "POST DESK/api/tickets/1001/cancel", "cancel")


@pytest.mark.parametrize(
    ("status", "delay"),
    [(500, {"delay": SECOND}), (401, {"refused": True}), (429, {"delay": 2 * MINUTE})],
)
async def test_a_ticket_that_cannot_hear_now_hears_later(
    rig: Rig, caplog: pytest.LogCaptureFixture, status: int, delay: Mapping[str, int]
) -> None:
    watched = await opened(rig, caplog)
    times, after = 2 if status == 401 else 1, "120" if status == 429 else None
    rig.desk.switch_on(Fault("cancel", "answer", status=status, times=times, retry_after=after))
    await act(rig, watched.call, "cancel")
    *first, (_, event, state, says) = await watched.work()
    assert first == [CANCELLED, CALLED_BACK]
    assert (event, state) == ("Postponed", "done")
    assert says == {"code": "ticket_untold", "reason": says["reason"], **delay}
    assert says["reason"].startswith(f"desk answered {status} to POST DESK/api/tickets/1001/cancel")
    due = 2 * MINUTE if status == 429 else SECOND
    assert await watched.due_in() == due
    alarms = [alarm for alarm, _ in watched.alarms()]
    assert alarms == (["destination_paused"] if status == 401 else [])
    wait = 30 * SECOND if status == 401 else due
    assert await watched.work(after=wait) == at(wait, TOLD)


@pytest.mark.parametrize(
    ("status", "note"), [(404, f"nothing to do: {withdrawing(404)}"), (409, "commented")]
)
async def test_a_ticket_that_is_gone_or_decided(
    rig: Rig, caplog: pytest.LogCaptureFixture, status: int, note: str
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.switch_on(Fault("cancel", "answer", status=status))
    await act(rig, watched.call, "cancel")
    assert await watched.work() == [CANCELLED, CALLED_BACK, told(note)]
    assert await watched.due_in() == RETENTION
    assert watched.alarms() == []


async def test_a_ticket_that_refuses_to_hear_is_an_alarm(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.switch_on(Fault("cancel", "answer", status=422))
    await act(rig, watched.call, "cancel")
    assert await watched.work() == [
        CANCELLED,
        CALLED_BACK,
        told(f"not notified: {withdrawing(422)}"),
    ]
    assert await watched.due_in() == RETENTION
    [(alarm, message)] = watched.alarms()
    assert alarm == "ticket_untold"
    assert "its ticket DESK-1 could not be notified: desk answered 422" in message


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        ({"cancel"}, "commented"),
        (
            {"cancel", "comment"},
            "not notified: desk takes neither comments nor withdrawals",
        ),
    ],
)
async def test_a_desk_is_told_in_the_way_it_has(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, missing: set[str], note: str
) -> None:
    def declare(url: str) -> dict[str, Any]:
        return {name: part for name, part in desk_tree(url).items() if name not in missing}

    async with open_rig(declare=declare) as rig:
        watched = await opened(rig, caplog)
        await act(rig, watched.call, "cancel")
        assert await watched.work() == [CANCELLED, CALLED_BACK, told(note)]
        words = [entry["text"] for entry in rig.desk.journal.of("comment")]
        said = f"The access request {watched.call.correlation_id} was cancelled by operator alice"
        assert words == [f"{said}: checked by hand"] * (note == "commented")


async def test_what_the_ticket_decided_is_written_back_without_its_own_words(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    route = {"name": "default", "system": "desk", "write_back": True}
    async with open_rig(routes=[route]) as rig:
        watched = await opened(rig, caplog)
        rig.desk.decide("1001", "approved", comment="fine")
        news = await watched.work(after=SECOND)
        assert [line[1] for line in news] == ["Decided", "CalledBack", "Told"]
        assert news[1][3] == {"write_back": True}
        [comment] = rig.desk.journal.of("comment")
        assert comment["text"] == f"The access request {watched.call.correlation_id} was approved"


@pytest.mark.parametrize(("made", "note"), [(True, "withdrawn"), (False, "no ticket was opened")])
async def test_a_ticket_in_doubt_is_looked_for_once_it_must_be_visible(
    rig: Rig, caplog: pytest.LogCaptureFixture, *, made: bool, note: str
) -> None:
    watched = await in_doubt(rig, caplog, made=made)
    await act(rig, watched.call, "cancel")
    assert await watched.work(after=SECOND) == [CANCELLED, *at(SECOND, CALLED_BACK)]
    assert await watched.due_in() == 6 * SECOND
    assert await watched.work(after=6 * SECOND) == at(7 * SECOND, told(note))


async def test_a_ticket_that_nobody_can_look_for_is_an_alarm_and_pauses_nothing(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(declare=blind_desk) as rig:
        watched = await in_doubt(rig, caplog, made=True)
        await act(rig, watched.call, "cancel")
        assert await watched.work(after=SECOND) == [CANCELLED, *at(SECOND, CALLED_BACK)]
        note = "not notified: desk may hold one, and cannot be asked for it"
        assert await watched.work(after=6 * SECOND) == at(7 * SECOND, told(note))
        [(alarm, message)] = watched.alarms()
        assert alarm == "ticket_untold"
        assert "its ticket (unknown) could not be notified" in message


@pytest.mark.parametrize("made", [True, False])
async def test_a_cancelled_request_looks_for_the_ticket_that_the_store_may_have_forgotten(
    rig: Rig, caplog: pytest.LogCaptureFixture, *, made: bool
) -> None:
    watched = await watch_forgotten(rig, caplog)
    if made:
        swallow(watched)
    await act(rig, watched.call, "cancel")
    (at_, event, _, says) = DOUBTED
    assert await watched.work() == [CANCELLED, (at_, event, "decided", says), CALLED_BACK]
    news = await watched.work(after=7 * SECOND)
    assert news == at(7 * SECOND, TOLD if made else told("no ticket was opened"))
    assert [it["status"] for it in rig.tickets()] == (["cancelled"] if made else [])
