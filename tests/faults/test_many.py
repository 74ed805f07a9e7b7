"""Some hundred requests with faults on: none lost, no second ticket, no wrong status."""

import random
from pathlib import Path

from tests.support.faults.many import ROOM, Crowd, roomy_desk
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import open_rig

COUNT = 300


async def test_many_requests_among_faults(
    tmp_path: Path, redis_url: str, clock: ManualClock
) -> None:
    seed = random.randrange(1_000_000)
    async with open_rig(
        tmp_path,
        redis_url,
        clock,
        desk={"seed": seed},
        witboost={"seed": seed},
        declare=roomy_desk,
        worker=dict(ROOM),
    ) as rig:
        figures = await Crowd(rig, seed).play(COUNT)
        await check_store(rig.program.store)
    told = "\n".join(figures.lines())
    assert figures.problems == (), told
    assert (figures.requests, figures.lost, figures.duplicates, figures.wrong) == (COUNT, 0, 0, 0)
    assert len(figures.faults) > 10, told
