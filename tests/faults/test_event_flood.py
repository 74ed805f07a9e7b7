"""A short flood of events, and its negative controls; `make event-flood` sends 100,000."""

import pytest

from proxy.engine.context import Policy
from proxy.web.events import Events
from tests.conftest import OpenRig
from tests.support.faults.event_flood import bound, flood

COUNT = 3_000


async def test_a_flood_of_events_decides_nothing_and_costs_few_reads(open_rig: OpenRig) -> None:
    async with open_rig() as rig:
        counted = await flood(rig, COUNT, seed=7)
    assert counted["new 202"] > COUNT // 10
    assert counted["reads"] <= bound(counted["milliseconds"])


async def test_with_the_bucket_and_the_memory_taken_away_it_costs_many(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: then every batch leads to a read."""

    async def forgetful(*_: object) -> bool:
        return True

    monkeypatch.setattr(Events, "_is_new", forgetful)
    monkeypatch.setattr(
        "proxy.app.runtime._policy", lambda _: Policy(hint_interval=1, hint_burst=10**6)
    )
    async with open_rig() as rig:
        counted = await flood(rig, COUNT // 3, seed=7)
    assert counted["reads"] > bound(counted["milliseconds"])
