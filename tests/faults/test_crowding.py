"""A ticket system that hangs must not take every place of a worker: others go on beside it."""

import asyncio
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import pytest

from proxy.domain.models import State
from proxy.engine.bulkhead import Permit
from proxy.engine.pauses import DOWN_AFTER
from proxy.errors import TemporaryError
from proxy.simulators.faults import Fault
from proxy.store.pauses import Pause
from tests.conftest import OpenRig
from tests.support.rig import Rig, desk_tree
from tests.support.waiting import wait_until

SECOND = 1_000
PLACES = 4  # of which one destination gets three


def patient(url: str) -> dict[str, Any]:
    """A desk that may take longer than this test."""
    return {**desk_tree(url), "deadline": "30s"}


def slow(url: str) -> dict[str, Any]:
    """A desk that takes one call at a time, of which all that come together must be made soon."""
    return {**desk_tree(url), "concurrency": 1, "deadline": "500ms", "settle": "1s"}


def opened(rig: Rig) -> set[str]:
    return {ticket["correlation_id"] for ticket in rig.tickets()}


async def endless(_place: Permit, _name: str) -> bool:
    """There is always room."""
    return True


@pytest.mark.parametrize("removed", [False, True], ids=["with it", "without it"])
async def test_a_desk_that_hangs_leaves_room_for_callbacks(
    open_rig: OpenRig, *, removed: bool
) -> None:
    """Taken away, every place waits for the desk, and the callback waits with them."""
    async with open_rig(declare=patient, worker={"concurrency": PLACES}) as rig:
        early = await rig.ask()
        await rig.work()
        rig.witboost.switch_on(Fault("callback", "answer", status=503))
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.work(after=2 * SECOND)
        assert await rig.state(early) is State.DECIDED
        hanging = rig.desk.switch_on(Fault("create", "hang", times=None))
        with patch.object(Permit, "acquire", endless) if removed else nullcontext():
            for _ in range(2 * PLACES):
                await rig.ask()
            working = asyncio.create_task(rig.worker.run())
            try:
                wanted = PLACES if removed else PLACES - 1
                await wait_until(lambda: len(rig.desk.journal.of("fault")) == wanted)
                rig.clock.advance(10 * SECOND)  # the callback is due,
                await rig.ask()  # and the worker looks
                called_back = rig.witboost.callback(early.hook_id, within=1.0)
                if removed:
                    with pytest.raises(TimeoutError):
                        await called_back
                else:
                    assert (await called_back)["status"] == "OK"
                assert len(rig.desk.journal.of("fault")) == wanted, "the desk still hangs"
            finally:
                hanging.off()
                await rig.worker.stop(10)
                await working


@pytest.mark.parametrize("removed", [False, True], ids=["with it", "without it"])
async def test_a_desk_with_more_calls_than_it_answers_in_time_is_not_held_to_be_down(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch, *, removed: bool
) -> None:
    """Most of them had no turn, which says nothing of the desk; all are made in the end."""
    if removed:
        monkeypatch.setattr(
            TemporaryError,
            "queue_timeout",
            property(lambda _: False, lambda *_: None),
            raising=False,
        )
    async with open_rig(declare=slow) as rig:
        slowness = rig.desk.switch_on(Fault("create", "slow", seconds=0.15, times=None))
        asked = [await rig.ask() for _ in range(3 * DOWN_AFTER)]
        await rig.work()
        pause = (await rig.program.pause_store.pauses()).get("desk", Pause())
        assert bool(pause.since) == removed
        slowness.off()
        await rig.work(after=90 * SECOND)
        await rig.work(after=90 * SECOND)
        assert opened(rig) == {call.correlation_id for call in asked}
        assert len(rig.tickets()) == len(asked)
