import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import BaseModel, ValidationError

from proxy.domain.durations import Milliseconds, format_duration, parse_duration


class Waiting(BaseModel):
    pause: Milliseconds = 1_500


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("10s", 10_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("30d", 2_592_000_000),
        ("2w", 1_209_600_000),
        (" 1s500ms ", 1_500),
        ("0", 0),
        (0, 0),
    ],
)
def test_durations_are_read_as_people_write_them(text: object, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("value", [10, "10", 1_500, "86400"])
def test_a_number_without_a_unit_is_refused_and_the_message_says_so(value: object) -> None:
    with pytest.raises(ValueError, match="has no unit: write whole numbers with units"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value",
    ["", "s", "-1s", "1.5s", "1 s", "1S", "30m1h", "1s1s", "1y", "\u0661s", "5mm", "99999999w"],
)
def test_what_is_no_duration_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="write whole numbers with units"):
        parse_duration(value)


@pytest.mark.parametrize("value", [True, None, 1.5, [], {}])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(value)


@given(some.integers(min_value=0, max_value=10**12))
def test_what_is_written_is_read_back_as_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@given(some.text(alphabet="0123456789wdhms. -", max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        assert str(error)  # noqa: PT017 - both ends are fine, any other exception is not


def test_a_model_with_durations_survives_json() -> None:
    waiting = Waiting(pause="1h30m")
    assert waiting.pause == 5_400_000
    assert waiting.model_dump() == {"pause": 5_400_000}
    assert waiting.model_dump(mode="json") == {"pause": "5400000ms"}
    assert Waiting.model_validate_json(waiting.model_dump_json()) == waiting
    with pytest.raises(ValidationError):
        Waiting(pause=1_500)
