"""SIGKILL at every I/O step, then a restart: one ticket and the right status, whatever the step.

The steps are found by counting them, so a new one is covered as soon as it exists. Played here are
all points of the smooth life and each third of the rough one; `make crash-points` plays them all.
"""

import random

import pytest

from tests.faults.crash_points import ROUGH, SMOOTH, live
from tests.faults.enumeration import describe, enumerate_pairs, enumerate_points
from tests.faults.io_steps import MOMENTS, Moment
from tests.faults.nursery import Nursery

CREATE = "POST /api/tickets"
GRANT_FLOW = {
    "admit",
    "claim",
    "commit",
    "hint",
    "POST /oauth/token",
    CREATE,
    "GET /api/tickets/*",
    "POST /api/auth/access-tokens/jwt",
    "PUT /api/actionHandler/*",
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_death_at_any_step_costs_nothing(redis_url: str, moment: Moment) -> None:
    outcomes = await enumerate_points(redis_url, SMOOTH, moment)
    assert describe(outcomes) == []
    assert {label for outcome in outcomes for label in outcome.died_at} >= GRANT_FLOW


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_death_among_lost_answers_costs_nothing(redis_url: str, moment: Moment) -> None:
    first = random.randint(1, 3)  # pytest-randomly prints the seed
    outcomes = await enumerate_points(redis_url, ROUGH, moment, first=first, every=3)
    assert describe(outcomes) == [], f"first step {first}"
    assert len(outcomes) > 15


async def test_two_deaths_cost_nothing(redis_url: str) -> None:
    seed = random.randrange(1_000_000)
    outcomes = await enumerate_pairs(redis_url, ROUGH, seed=seed, count=12)
    assert describe(outcomes) == [], f"seed {seed}"
    assert any(len(outcome.died_at) == 2 for outcome in outcomes)


@pytest.mark.parametrize(("moment", "tickets"), [("before", 0), ("sent", 1), ("after", 1)])
async def test_the_moments_are_what_they_say(redis_url: str, moment: Moment, tickets: int) -> None:
    """Killed before it was sent a create had no effect; killed after that it had."""
    async with Nursery() as nursery:
        outcome = await live(nursery, redis_url, SMOOTH, [(CREATE, moment)])
    assert outcome.died_at == [CREATE]
    assert outcome.tickets == tickets


@pytest.mark.parametrize(
    "removed", ["", "look-up before a second create", "intent stored before the create"]
)
async def test_a_death_right_after_the_create_makes_no_second_ticket(
    redis_url: str, removed: str
) -> None:
    """Negative control: without the intent, or without looking, the same death makes two."""
    async with Nursery() as nursery:
        outcome = await live(nursery, redis_url, SMOOTH, [(CREATE, "after")], without=removed)
    assert outcome.died_at == [CREATE]
    assert any("2 tickets instead of 1" in line for line in outcome.problems) == bool(removed)
