"""A crash at every I/O step, then a restart: one ticket and the right status, whatever the step.

The steps are found by counting them, so a new one is covered as soon as it exists. Played here are
all points of the grant flow on the `rest` adapter and a sample of all others; `make crash-points`
plays them all.
"""

import gc
import random
from collections.abc import Sequence

import pytest

from tests.support.faults.crash_points import Outcome, live
from tests.support.faults.enumeration import describe, draw, lives, points
from tests.support.faults.io_steps import MOMENTS, Crash, Manner, Moment
from tests.support.faults.life import Life, Play
from tests.support.faults.nursery import Ended, Nursery

pytestmark = pytest.mark.timeout(400)  # dozens of lives a test, on machines that do more

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


@pytest.mark.parametrize("manner", ["kill", "stop"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_crash_at_any_step_costs_nothing(
    redis_url: str, moment: Moment, manner: Manner
) -> None:
    play = Play("grant", "rest")
    outcomes = await points(redis_url, play, moment, manner, started=manner != "kill")
    # what runs beside the flow may shift a number between two lives: then a label finds its step
    missed = GRANT_FLOW - _met(outcomes)
    outcomes += await lives(redis_url, [(play, [Crash(it, moment, manner)]) for it in missed])
    assert describe(outcomes) == []
    assert _met(outcomes) >= GRANT_FLOW
    assert len(missed) <= 2


def _met(outcomes: Sequence[Outcome]) -> set[str]:
    return {label for outcome in outcomes for label in outcome.ended_at}


async def test_crashes_in_other_flows_and_systems_cost_nothing(redis_url: str) -> None:
    seed = random.randrange(1_000_000)
    outcomes = await lives(redis_url, draw(seed, 40))
    assert describe(outcomes) == [], f"seed {seed}"
    assert sum(bool(outcome.ended_at) for outcome in outcomes) > 20, f"seed {seed}"


async def test_two_crashes_cost_nothing(redis_url: str) -> None:
    seed = random.randrange(1_000_000)
    outcomes = await lives(redis_url, draw(seed, 12, ends=2))
    assert describe(outcomes) == [], f"seed {seed}"
    assert any(len(outcome.ended_at) == 2 for outcome in outcomes), f"seed {seed}"


async def test_a_life_that_fails_leaves_nothing_behind(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next test would be blamed: what is left open here is a warning, and so an error."""
    bury = Life._bury

    async def fails(life: Life, end: Ended) -> None:
        await bury(life, end)
        assert life.frozen
        raise RuntimeError("as if the store did not answer")

    monkeypatch.setattr(Life, "_bury", fails)
    crash = Crash(CREATE, "after", "freeze")
    with pytest.raises(ExceptionGroup, match="TaskGroup"):
        await lives(redis_url, [(Play(), [crash])] * 4)
    gc.collect()


@pytest.mark.parametrize(("moment", "tickets"), [("before", 0), ("sent", 1), ("after", 1)])
async def test_the_moments_are_what_they_say(redis_url: str, moment: Moment, tickets: int) -> None:
    """Killed before it was sent a create had no effect; killed after that it had."""
    async with Nursery() as nursery:
        outcome = await live(nursery, redis_url, Play(), [Crash(CREATE, moment)])
    assert outcome.ended_at == [CREATE]
    assert outcome.tickets == tickets


@pytest.mark.parametrize("moment", ["before", "sending", "sent", "after"])
async def test_the_declared_exception_is_one_instant(redis_url: str, moment: Moment) -> None:
    """Frozen for longer than lease and settle time: two tickets if nothing is left but to send.

    Everywhere else around the create, timers and fence stop the one that was frozen.
    """
    async with Nursery() as nursery:
        outcome = await live(nursery, redis_url, Play(), [Crash(CREATE, moment, "freeze")])
    assert outcome.ended_at == [CREATE]
    assert outcome.problems == []
    assert outcome.declared == (moment == "sending")


@pytest.mark.parametrize(
    ("removed", "crash"),
    [
        ("look-up before a second create", Crash(CREATE, "after")),
        ("intent stored before the create", Crash(CREATE, "after")),
        ("lease checked before the create", Crash("commit", "after", "freeze")),
    ],
)
@pytest.mark.parametrize("kept", [True, False], ids=["with it", "without it"])
async def test_what_keeps_a_crash_from_making_a_second_ticket(
    redis_url: str, removed: str, crash: Crash, *, kept: bool
) -> None:
    """Negative control: without the mechanism the same crash makes two."""
    async with Nursery() as nursery:
        play = Play(without="" if kept else removed)
        outcome = await live(nursery, redis_url, play, [crash])
    assert outcome.ended_at == [crash.step]
    assert any("2 tickets instead of 1" in line for line in outcome.problems) == (not kept)


@pytest.mark.parametrize("kept", [True, False], ids=["with it", "without it"])
async def test_an_approval_that_no_operator_released_is_told(redis_url: str, *, kept: bool) -> None:
    """Negative control: the invariants know of people who must have had their say."""
    async with Nursery() as nursery:
        play = Play("held and released", without="" if kept else "guards")
        outcome = await live(nursery, redis_url, play)
    assert bool(outcome.problems) == (not kept)


async def test_a_stop_that_gives_nothing_back_is_told(redis_url: str) -> None:
    """Negative control: what a stopped worker holds would wait for the end of its lease."""
    async with Nursery() as nursery:
        with pytest.raises(AssertionError, match="held, and not given back"):
            await live(
                nursery, redis_url, Play(without="giving back"), [Crash(CREATE, "sent", "stop")]
            )
