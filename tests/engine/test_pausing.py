"""What waits for a paused destination, in each state, and what does not."""

import pytest

from proxy.engine.pauses import DOWN_AFTER
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.engine.test_history import decided
from tests.engine.test_outages import act
from tests.support.rig import Rig
from tests.support.watching import MINUTE, SECOND, Watched, opened, watch

WAIT = 10 * SECOND


def calls(rig: Rig) -> int:
    return sum(len(rig.desk.journal.of(kind)) for kind in ("created", "find", "read"))


async def waits(watched: Watched, state: str, destination: str, *, at: int, after: int) -> None:
    """Check that the request waits for the destination, which hears nothing."""
    heard = calls(watched.rig), len(watched.rig.witboost.attempts(watched.call.hook_id))
    says = {"code": "paused", "reason": f"{destination} is paused; see its alarm"}
    assert await watched.work(after=after) == [(at, "Postponed", state, says)]
    assert await watched.due_in() == WAIT
    assert await watched.work(after=WAIT) == [], "it is known"
    assert heard == (calls(watched.rig), len(watched.rig.witboost.attempts(watched.call.hook_id)))


async def test_no_ticket_is_opened_at_a_paused_desk(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await watch(rig, caplog)
    await act(rig, "desk", "pause")
    await waits(watched, "received", "desk", at=0, after=0)
    await act(rig, "desk", "resume")
    assert [line[1] for line in await watched.work(after=WAIT)] == ["Sending", "Opened"]


async def test_no_ticket_is_read_at_a_paused_desk(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    await act(rig, "desk", "pause")
    await waits(watched, "pending", "desk", at=SECOND, after=SECOND)


async def test_no_fulfilment_is_read_at_a_paused_desk(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    route = {"name": "default", "system": "desk", "callback_on": "fulfilment"}
    async with open_rig(routes=[route]) as rig:
        watched = await opened(rig, caplog)
        rig.desk.decide("1001", "approved")
        await watched.work(after=SECOND)
        await act(rig, "desk", "pause")
        await waits(watched, "fulfilling", "desk", at=MINUTE + SECOND, after=MINUTE)


async def test_a_paused_witboost_hears_of_the_ticket_and_of_its_decision_later(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    route = {"name": "default", "system": "desk", "announce": True}
    async with open_rig(routes=[route]) as rig:
        watched = await opened(rig, caplog)
        await act(rig, "main", "pause")
        assert await watched.work(after=SECOND) == []
        assert rig.witboost.attempts(watched.call.hook_id) == []
        await act(rig, "main", "resume")
        assert await watched.work(after=SECOND) == [(2 * SECOND, "Announced", "pending", {})]
        await act(rig, "main", "pause")
        rig.desk.decide("1001", "approved")
        at = 2 * SECOND + MINUTE
        news = await watched.work(after=MINUTE)
        assert news[0] == decided(at)
        says = {"code": "paused", "reason": "main is paused; see its alarm"}
        assert news[1:] == [(at, "Postponed", "decided", says)]
        assert await watched.due_in() == WAIT
        await act(rig, "main", "resume")
        assert [line[1] for line in await watched.work(after=WAIT)] == ["CalledBack"]


async def paused(rig: Rig) -> set[str]:
    return {name for name, pause in (await rig.program.pause_store.pauses()).items() if pause.since}


@pytest.mark.parametrize("status", [None, 404])
async def test_a_desk_is_down_when_different_requests_fail_and_up_when_it_answers_anything(
    rig: Rig, status: int | None
) -> None:
    """One request that makes a desk stumble must not stop the others."""
    await rig.ask()
    await rig.work()
    fails = Fault("read", "answer", status=503, times=None)
    fault = rig.desk.switch_on(fails)
    for _ in range(DOWN_AFTER + 1):
        await rig.work(after=MINUTE)
    assert await paused(rig) == set()
    fault.off()
    for _ in range(DOWN_AFTER - 1):
        await rig.ask()
    await rig.work()
    fault = rig.desk.switch_on(fails)
    await rig.work(after=MINUTE)
    assert await paused(rig) == {"desk"}
    fault.off()
    if status:
        rig.desk.switch_on(Fault("read", "answer", status=status))
    await rig.work(after=MINUTE)
    assert await paused(rig) == set()
