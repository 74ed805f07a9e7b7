"""A short chaos soak, and how it tells the declared exception from a mistake; see `soak`."""

import asyncio
import random

import pytest
import uvloop

from tests.support.faults.evidence import Freeze, Said, Terms, is_declared
from tests.support.faults.soak import Figures, soak

COUNT = 200
TERMS = Terms(lease=5_000, settle=1_000, deadline=2_000)
FROZEN = Freeze("worker-0", began=10_000, ended=17_000)
INTENT = Said(9_990, intent=True)
BOTH = (12_500, 17_010)
"""When the tickets came: one by who took over, one by who was continued."""


def soaked(lag: float) -> Figures:
    seed = random.randrange(1_000_000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(soak(COUNT, seed, lag=lag))


@pytest.mark.timeout(300)
def test_nothing_is_lost_in_chaos() -> None:
    figures = soaked(lag=0.8)
    told = "\n".join(figures.lines())
    assert figures.good, told
    assert sum(figures.statuses.values()) == COUNT, told
    assert min(figures.dropped.values()) > 0, told
    kinds = ("worker killed", "web killed", "frozen", "redis restarted")
    assert all(figures.incidents[kind] for kind in kinds), told


def test_a_ticket_out_of_a_freeze_is_declared() -> None:
    assert is_declared(BOTH, {"worker-0": [INTENT, Said(17_020, intent=False)]}, [FROZEN], TERMS)


@pytest.mark.parametrize(
    ("created", "said", "freeze"),
    [
        (BOTH, [], FROZEN),  # nobody had the intent
        (BOTH, [INTENT, Said(9_995, intent=False)], FROZEN),  # it had its answer before
        (BOTH, [Said(10_500, intent=True)], FROZEN),  # written while frozen: another's line
        (BOTH, [INTENT], Freeze("worker-0", 10_000, 15_900)),  # too short to excuse anything
        (BOTH, [INTENT], Freeze("worker-1", 10_000, 17_000)),  # another process
        ((12_500, 16_990), [INTENT], FROZEN),  # came while it stood still
        ((12_500, 19_100), [INTENT], FROZEN),  # came long after
        ((12_500, 12_600, 17_010), [INTENT], FROZEN),  # one is explained, another is not
    ],
)
def test_without_the_evidence_a_second_ticket_is_a_mistake(
    created: tuple[int, ...], said: list[Said], freeze: Freeze
) -> None:
    assert not is_declared(created, {"worker-0": said}, [freeze], TERMS)
