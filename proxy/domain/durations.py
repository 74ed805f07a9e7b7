"""Durations: people write `10s`, `5m`, `1h30m` or `30d`; the program counts milliseconds.

A number without a unit is refused, because `timeout: 10` could mean seconds or milliseconds. Stored
JSON has the form `"1500ms"`, which the same rule reads back.
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

    Each unit may occur once, and units go from large to small, so that a typing error is refused
    and not read as another duration.

    Raises:
        ValueError: the value is not a duration, or longer than a hundred years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"must be a duration: {_HINT}")  # noqa: TRY004 - pydantic's contract
    text = str(value).strip()
    if text == "0":
        return 0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        problem = "has no unit" if text.isdecimal() else "is not a duration"
        raise ValueError(f"{text[:40]!r} {problem}: {_HINT}")
    sizes = [_UNITS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise ValueError(f"{text[:40]!r} repeats a unit or has them out of order: {_HINT}")
    total = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if total > _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than a hundred years: {_HINT}")
    return total


def format_duration(milliseconds: int) -> str:
    """Return a duration as people write it: 5400000 is `1h30m`."""
    parts = []
    for unit, size in _UNITS.items():
        if unit == "w":
            continue  # people say 14d and 90d, not 2w and 12w6d
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0"


def _stored(milliseconds: int) -> str:
    """Return the JSON form. It is part of what a route's hash is made from, so it never changes."""
    return f"{milliseconds}ms"


Milliseconds = Annotated[
    int, BeforeValidator(parse_duration), PlainSerializer(_stored, when_used="json")
]
"""A pydantic field: people write `10s`, the program holds an int, and JSON has `"10000ms"`."""
