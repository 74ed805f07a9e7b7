"""A worker that is told to stop at any I/O step gives back what it holds, and nothing is lost."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from proxy.demo.faults import Fault
from proxy.demo.verdict import judge
from proxy.worker import Worker
from tests.faults.child import AT_REST
from tests.faults.io_steps import MOMENTS, Moment, watched
from tests.rig import Rig
from tests.waiting import wait_until

TURNS = 40


@dataclass
class Stop:
    """Stops the worker at one moment of one step, as SIGTERM does with no time to finish."""

    number: int
    moment: Moment
    worker: Worker
    taken: int = 0
    working: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def meet(self, _number: int, _label: str, moment: Moment) -> None:
        """Wait at the chosen point until the worker was stopped; steps of the test do not count."""
        if not self.working:
            return
        self.taken += moment == "before"
        if (self.taken, moment) == (self.number, self.moment):
            self.working = False
            self.reached.set()
            await self.go_on.wait()

    async def run_due(self, rig: Rig) -> None:
        """Let the worker do what is due; if it is stopped, what it held is due again at once."""
        self.working = True
        work = asyncio.create_task(self.worker.run_due())
        reached = asyncio.create_task(self.reached.wait())
        await asyncio.wait([work, reached], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            held = list(self.worker._tasks)
            stop = asyncio.create_task(self.worker.stop(0))
            await wait_until(lambda: all(it.done() or it.cancelling() for it in held))
            self.go_on.set()
            await stop
            due = await rig.program.store.next_due()
            assert not held or (due is not None and due <= rig.clock.now())
        reached.cancel()
        await asyncio.gather(work, reached, return_exceptions=True)
        self.working = False


async def live(rig: Rig, number: int, moment: Moment) -> bool:
    """Play one request, stopped at this point; True if the worker came so far."""
    await rig.ask()
    stop = Stop(number, moment, rig.program.worker())
    with watched(stop.meet):
        for _ in range(TURNS):
            await stop.run_due(rig)
            if not decide(rig) and not await pass_time(rig):
                return stop.reached.is_set()
            if stop.reached.is_set():
                stop.worker = rig.program.worker()
    raise AssertionError(f"not at rest: {moment} step {number}")


async def pass_time(rig: Rig) -> bool:
    """Let time pass until something is due; False if nothing is for long."""
    due = await rig.program.store.next_due()
    ahead = AT_REST if due is None else due - rig.clock.now()
    if ahead < AT_REST:
        rig.clock.advance(max(ahead, 0))
    return ahead < AT_REST


def decide(rig: Rig) -> bool:
    """Decide every new ticket that was read."""
    read = {entry["ticket"] for entry in rig.desk.journal.of("read")}
    new = [it for it in rig.tickets() if it["status"] == "new" and it["id"] in read]
    for ticket in new:
        rig.desk.decide(ticket["id"], "approved")
    return bool(new)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    "faults",
    [(), (Fault("create", "reset", after_effect=True), Fault("read", "expire"))],
    ids=["smooth", "rough"],
)
async def test_a_worker_stopped_at_any_step_loses_nothing(
    rig: Rig, moment: Moment, faults: Sequence[Fault]
) -> None:
    rig.desk.events.target = None
    number = 1
    while await live(rig, number, moment):
        number += 1
        for fault in faults:
            rig.desk.switch_on(fault)
    assert number >= 20
    verdict = judge(rig.desk.journal.entries, rig.witboost.journal.entries)
    assert verdict.problems == ()
    assert {row.status for row in verdict.rows} == {"OK"}
