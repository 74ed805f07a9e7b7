"""What is done with a request that only waits: until a person acts, or until it is deleted."""

import pytest

from proxy.domain.models import State
from proxy.simulators.faults import Fault
from tests.support.rig import Rig
from tests.support.watching import DAY, MINUTE, RETENTION, SECOND, Watched, opened, watch


async def make_due(watched: Watched) -> None:
    """As whoever gives a claim back does."""
    store = watched.rig.program.store
    entry = await watched.rig.entry(watched.call)
    await store.commit(entry, entry, due=await store.now())


async def test_a_finished_request_is_kept_for_its_time_and_no_longer(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await opened(rig, caplog)
    rig.desk.decide("1001", "approved")
    assert [line[1] for line in await watched.work(after=SECOND)] == ["Decided", "CalledBack"]
    assert await watched.due_in() == RETENTION
    assert len(rig.desk.journal.of("read")) == 1, "what is done costs no more calls"
    rig.clock.advance(MINUTE)
    await make_due(watched)
    assert await watched.work() == []
    assert await watched.due_in() == RETENTION - MINUTE
    assert await watched.work(after=RETENTION - MINUTE - 1) == []
    await rig.work(after=1)
    assert await rig.program.store.load(watched.call.correlation_id) is None


async def test_a_dead_request_waits_for_a_person_and_its_deadline(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await watch(rig, caplog)
    rig.desk.switch_on(Fault("create", "answer", status=422))
    await watched.work()
    rig.clock.advance(DAY)
    await make_due(watched)
    assert await watched.work() == []
    assert await rig.state(watched.call) is State.DEAD
    assert await watched.due_in() == 29 * DAY
