"""A finished request whose ticket changes: it is read once more, and an alarm is all that comes."""

import pytest

from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_history import Line
from tests.engine.test_operators import act
from tests.engine.test_outages import act as operate
from tests.engine.test_retention import make_due
from tests.support.rig import Rig
from tests.support.watching import MINUTE, RETENTION, SECOND, Watched, opened, watch


async def finished(watched: Watched, status: str = "approved") -> None:
    """Let the desk decide, and the request end."""
    watched.rig.desk.decide("1001", status, by="olga")
    news = await watched.work(after=SECOND)
    assert [line[1] for line in news] == ["Decided", "CalledBack"]


async def look_back(watched: Watched) -> list[Line]:
    """Let an event make the finished request due: a minute later, whatever is left of its time."""
    before = await watched.due_in()
    assert before is not None
    watched.rig.clock.advance(MINUTE)
    await make_due(watched)
    news = await watched.work()
    assert await watched.due_in() == before - MINUTE, "its retention ends when it did"
    return news


def reads(rig: Rig) -> int:
    return len(rig.desk.journal.of("read"))


def reversal(status: str, decision: str, *, after: int) -> Line:
    says = {"decision": decision, "by": "olga", "native_status": status}
    return (after, "Decided", "done", {**says, "evidence": f"desk DESK-1: {status}"})


@pytest.mark.parametrize("status", ["rejected", "cancelled"])
async def test_a_reversal_is_one_alarm_that_says_what_stands(
    rig: Rig, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    """A withdrawal is one as well, where it was not ours."""
    watched = await opened(rig, caplog)
    await finished(watched)
    assert await look_back(watched) == []
    rig.desk.decide("1001", status, by="olga")
    news = await look_back(watched)
    assert news == [reversal(status, status, after=SECOND + 2 * MINUTE)]
    says = (
        f"Ticket DESK-1 of request {watched.call.correlation_id} changed its decision after"
        " approved was accepted; the first one stands. Look at the ticket."
    )
    assert watched.alarms() == [("decision_conflict", says)]
    looked = reads(rig)
    rig.desk.decide("1001", "in_review", by="olga")
    assert await look_back(watched) == []
    assert (reads(rig), watched.alarms()) == (looked, []), "somebody looks already"


async def test_what_was_decided_against_the_ticket_is_no_reversal_but_its_approval_is(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    await act(rig, watched.call, "reject")
    assert [line[1] for line in await watched.work()] == ["Decided", "CalledBack", "Told"]
    assert rig.tickets()[0]["status"] == "cancelled"
    assert await look_back(watched) == []
    assert watched.alarms() == []
    rig.desk.decide("1001", "approved", by="olga")
    news = await look_back(watched)
    assert news == [reversal("approved", "approved", after=2 * MINUTE)]
    assert [alarm for alarm, _ in watched.alarms()] == ["decision_conflict"]


@pytest.mark.parametrize("status", [404, 500])
async def test_a_ticket_that_cannot_be_read_any_more_is_nobodys_matter(
    rig: Rig, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    watched = await opened(rig, caplog)
    await finished(watched)
    rig.desk.switch_on(Fault("read", "answer", status=status))
    assert await look_back(watched) == []
    assert watched.alarms() == []


async def test_nobody_looks_back_at_a_paused_desk(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    await finished(watched)
    looked = reads(rig)
    await operate(rig, "desk", "pause")
    assert await look_back(watched) == []
    assert reads(rig) == looked


async def test_there_is_nothing_to_look_back_at_without_a_ticket(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    rule = {"name": "all", "decide": "approve", "reason": "Less is fine"}
    async with open_rig(routes=[rule]) as rig:
        watched = await watch(rig, caplog)
        assert [line[1] for line in await watched.work()] == ["Decided", "CalledBack"]
        assert await look_back(watched) == []
        assert await watched.due_in() == RETENTION - MINUTE
