"""However many tickets are open: few calls find what was decided, within two intervals."""

from pathlib import Path

from tests.support.faults.open_tickets import DECIDED, INTERVALS, MOST_CALLS, measured

FEW, MANY = 500, 3_000


async def test_calls_do_not_grow_with_the_number_of_open_tickets(
    tmp_path: Path, redis_url: str
) -> None:
    """The bound is the same for both; `make open-tickets` plays it with 100,000."""
    for count in (FEW, MANY):
        figures = await measured(tmp_path, redis_url, count)
        assert figures.late == 0
        assert len(figures.calls) == INTERVALS
        assert max(calls.total() for calls in figures.calls) <= MOST_CALLS, figures.lines()


async def test_without_a_list_of_changes_decisions_come_late(
    tmp_path: Path, redis_url: str
) -> None:
    """The negative control: nothing else finds them before the safety net."""
    figures = await measured(tmp_path, redis_url, FEW, changes=None)
    assert figures.late >= DECIDED * (INTERVALS - 1)
