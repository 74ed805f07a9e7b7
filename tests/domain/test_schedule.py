"""When something is tried again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.models import Decision, Fulfilment, Record, State
from proxy.domain.route import PollSchedule
from proxy.domain.schedule import HOUR, MINUTE, SECOND, backoff, due_at, poll_pause

RECORD = Record("ar1", State.PENDING, "main", "desk", "r", "c", "x", 0, 1_000)
dice = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10_000), dice)
def test_backoff_grows_to_a_quarter_of_an_hour(attempt: int, roll: float) -> None:
    pause = backoff(attempt, lambda: roll)
    assert 0.8 * SECOND - 1 <= pause <= 1.2 * 15 * MINUTE
    assert backoff(attempt + 1, lambda: roll) >= pause


@given(st.integers(0, 20), dice, st.integers(0, 10 * HOUR))
def test_retry_after_is_respected_up_to_an_hour(attempt: int, roll: float, asked: int) -> None:
    assert backoff(attempt, lambda: roll, asked) >= min(asked, HOUR)
    assert backoff(attempt, lambda: roll, asked) <= max(HOUR, 18 * MINUTE)


@given(st.integers(0, 10_000), dice)
def test_polls_slow_down_and_never_stop(polls: int, roll: float) -> None:
    poll = PollSchedule(first=1_000, factor=1.5, slowest=300_000)
    assert 900 <= poll_pause(polls, poll, lambda: roll) <= 330_000


@pytest.mark.parametrize(("roll", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_each_pause_is_twice_the_one_before_and_jittered(roll: float, factor: float) -> None:
    pauses = [backoff(attempt, lambda: roll) for attempt in (0, 1, 2, 9, 10, 30)]
    planned = [1, 2, 4, 512, 900, 900]  # seconds, up to a quarter of an hour
    assert pauses == [int(seconds * SECOND * factor) for seconds in planned]


@pytest.mark.parametrize(("roll", "factor"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_each_read_comes_later_by_the_factor(roll: float, factor: float) -> None:
    poll = PollSchedule(first=1_000, factor=2.0, slowest=5_000, safety_net=60_000)
    pauses = [poll_pause(polls, poll, lambda: roll) for polls in (0, 1, 2, 3, 100)]
    assert pauses == [int(pause * factor) for pause in (1_000, 2_000, 4_000, 5_000, 5_000)]


def test_where_changes_are_listed_reads_become_a_safety_net() -> None:
    poll = PollSchedule(first=1_000, factor=2.0, slowest=5_000, safety_net=60_000)
    pauses = [
        poll_pause(polls, poll, lambda: 0.5, change_list_interval=2_000) for polls in (0, 1, 2)
    ]
    assert pauses == [1_000, 60_000, 60_000]


def test_an_undecided_request_is_looked_at_when_its_deadline_passes() -> None:
    for state in State:
        record = replace(RECORD, state=state)
        expected = None if state is State.DONE else 1_000
        assert due_at(record, None, 0) == expected
        assert due_at(record, 500, 0) == 500
    assert due_at(RECORD, 2_000, 0) == 1_000


def test_a_deadline_fires_once_and_not_after_the_decision() -> None:
    assert due_at(replace(RECORD, deadline_fired=1), None, 9) is None
    assert due_at(replace(RECORD, decision=Decision.APPROVED), 2_000, 9) == 2_000


def test_awaited_access_is_looked_for_when_its_deadline_passes() -> None:
    decided = replace(RECORD, decision=Decision.APPROVED, fulfil_by=700)
    awaited = replace(decided, state=State.FULFILLING, fulfilment=Fulfilment.WAITING)
    assert (due_at(awaited, 900, 0), due_at(awaited, 600, 0)) == (700, 600)
    assert due_at(awaited, 900, 700) == 900
    assert due_at(replace(awaited, state=State.HELD), None, 0) is None
    assert due_at(replace(awaited, fulfilment=Fulfilment.FULFILLED), 900, 0) == 900


def test_a_deadline_that_could_not_be_met_is_met_later_and_not_in_a_circle() -> None:
    assert due_at(RECORD, 5_000, 1_000) == 5_000
    assert due_at(RECORD, None, 1_000) == 1_000 + 15 * MINUTE
