"""Worker processes and partitions: each looks at its own first, and stands in for the others."""

import asyncio
from dataclasses import replace

from proxy.app.processes.share import WorkerShare
from proxy.worker import OTHER_PARTITIONS_DELAY_MS
from tests.support.rig import Rig
from tests.support.waiting import wait_until

ASKED = 24


async def ask(rig: Rig, share: WorkerShare) -> tuple[set[str], set[str]]:
    """Ask until some requests are the share's own and some are not; return both."""
    tags = share.own_partitions(rig.program.store.keys.tags())
    ids = {str((await rig.ask()).correlation_id) for _ in range(ASKED)}
    own = {it for it in ids if rig.program.store.keys.tag_of(it) in tags}
    return own, ids - own


def opened(rig: Rig) -> set[str]:
    return {ticket["correlation_id"] for ticket in rig.tickets()}


async def test_what_others_leave_lying_is_taken_after_a_moment(rig: Rig) -> None:
    share = WorkerShare(1, count=2)
    own, others = await ask(rig, share)
    assert own
    assert others
    worker = replace(rig.program, share=share).worker()
    working = asyncio.create_task(worker.run())
    await wait_until(lambda: opened(rig) >= own)
    assert opened(rig) == own, "the time of the others stands still, so it has not passed"

    rig.clock.advance(OTHER_PARTITIONS_DELAY_MS)
    await wait_until(lambda: opened(rig) == own | others)
    await worker.stop(5)
    await working


async def test_without_others_everything_is_its_own(rig: Rig) -> None:
    """A control of the test before: nothing is left lying."""
    own, others = await ask(rig, WorkerShare())
    assert not others
    worker = rig.program.worker()
    working = asyncio.create_task(worker.run())
    await wait_until(lambda: opened(rig) == own)
    await worker.stop(5)
    await working


def test_each_partition_is_somebodys_own() -> None:
    tags = [f"{{ap:{number}}}" for number in range(8)]
    owned = [WorkerShare(number, count=3).own_partitions(tags) for number in (1, 2, 3)]
    assert sorted(tag for part in owned for tag in part) == tags


def test_too_few_partitions_are_everybodys_own() -> None:
    assert [WorkerShare(number, count=3).own_partitions(["a", "b"]) for number in (1, 2, 3)] == [
        ["a"],
        ["b"],
        ["a", "b"],
    ]
