import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.domain.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0, "0"), (1, "1ms"), (1_000, "1s"), (5_400_000, "1h30m"), (2_592_000_000, "30d")],
)
def test_durations_are_shown_as_people_write_them(duration: int, text: str) -> None:
    assert format_duration(duration) == text


@given(some.integers(min_value=0, max_value=10**12))
def test_a_shown_duration_is_read_back_as_the_same(duration: int) -> None:
    assert parse_duration(format_duration(duration)) == duration
