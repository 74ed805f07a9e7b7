"""Durations as people write them: `10s`, `5m`, `1h30m`, `30d`; inside the program, milliseconds.

A number without a unit is refused, because no reader can tell whether `timeout: 10` means seconds
or milliseconds. Frozen JSON therefore holds `"1500ms"`, which is read back by the same rule.
"""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer

_UNITS: Final = {
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_PART = re.compile(r"([0-9]{1,13})(ms|[wdhms])")
_LONGEST: Final = 100 * 366 * _UNITS["d"]
_HINT: Final = "write whole numbers with units, biggest first, such as 500ms, 10s, 5m, 1h30m or 30d"


def parse_duration(value: object) -> int:
    """Return the milliseconds that a text such as `1h30m` stands for; only 0 needs no unit.

    Each unit may occur once and they go from big to small, so that a slip of the keyboard is not
    read as something else.

    Raises:
        ValueError: the value is no duration, or one of more than a hundred years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"a duration is expected: {_HINT}")  # noqa: TRY004 - pydantic's contract
    text = str(value).strip()
    if text == "0":
        return 0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        said = "has no unit" if text.isdecimal() else "is not a duration"
        raise ValueError(f"{text[:40]!r} {said}: {_HINT}")
    sizes = [_UNITS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise ValueError(f"{text[:40]!r} repeats a unit or has them out of order: {_HINT}")
    total = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if total > _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than a hundred years: {_HINT}")
    return total


def format_duration(milliseconds: int) -> str:
    """Return the form that `parse_duration` reads back to exactly the same number."""
    return f"{milliseconds}ms"


Milliseconds = Annotated[
    int, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")
]
"""A pydantic field that people write as `10s`, that is an int inside, and `"10000ms"` in JSON."""
