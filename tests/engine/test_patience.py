"""How long something is tried, in a request's own time, and in which words it is given up."""

import pytest

from proxy.domain.models import State
from proxy.engine.bulkhead import Permit
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.support.rig import Rig
from tests.support.watching import MINUTE, RETENTION, SECOND, opened, watch

HOUR = 60 * MINUTE


@pytest.mark.parametrize(
    ("limit", "words", "creates"),
    [
        ("59m", "59m", 1),
        ("1h", "1h", 2),
        ("119m", "1h59m", 2),
        ("2h", "2h", 3),
    ],
)
async def test_what_is_given_up_says_how_long_it_was_tried(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, limit: str, words: str, creates: int
) -> None:
    """The desk wants an hour between two calls; one that is the limit itself is still waited."""
    async with open_rig(retries={"create": limit}) as rig:
        watched = await watch(rig, caplog)
        rig.desk.switch_on(Fault("create", "answer", status=429, times=None, retry_after="3600"))
        for _ in range(creates):
            assert await rig.state(watched.call) is State.RECEIVED
            await rig.work()
            rig.clock.advance(HOUR)
        entry = await rig.entry(watched.call)
        assert (entry.record.state, entry.record.code) == (State.DEAD, "gave_up")
        assert entry.details.reason.startswith(f"Tried for {words}: desk answered 429")
        [(alarm, message)] = watched.alarms()
        assert alarm == "request_dead"
        assert message == f"Request {watched.call.correlation_id} is dead: {entry.details.reason}"


@pytest.mark.parametrize("unreachable", ["3d", "2s"])
async def test_a_decided_request_that_is_given_up_is_kept_for_its_time(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture, unreachable: str
) -> None:
    """Pauses of one, two and four seconds are seven; the next would be one too many."""
    async with open_rig(retries={"refused_callback": "7s", "callback": unreachable}) as rig:
        watched = await opened(rig, caplog)
        rig.witboost.switch_on(Fault("callback", "answer", status=422, times=None))
        rig.desk.decide("1001", "approved")
        for pause in (1, 1, 2, 4):
            assert await rig.state(watched.call) is not State.DEAD
            await watched.work(after=pause * SECOND)
        assert await rig.state(watched.call) is State.DEAD
        assert await watched.due_in() == RETENTION


async def test_who_finds_no_place_at_a_destination_comes_back_soon(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one to two seconds, so that not all come back at once; it costs no line and no attempt."""
    watched = await watch(rig, caplog)

    async def full(_place: Permit, name: str) -> bool:
        assert name == "desk"
        return False

    with monkeypatch.context() as changed:
        changed.setattr(Permit, "acquire", full)
        assert await watched.work() == []
    assert await watched.due_in() == 1_500
    assert rig.tickets() == []
    assert [line[1] for line in await watched.work(after=1_500)] == ["Sending", "Opened"]
