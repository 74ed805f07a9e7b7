"""ServiceNow's encoded queries, with their trap: what is not understood is dropped silently."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

_CONDITION: Final = re.compile(
    r"([a-z][a-z0-9_.]*)(>=|<=|!=|=|>|<|IN|LIKE|STARTSWITH)(.*)", re.DOTALL
)
_ORDER: Final = re.compile(r"ORDERBY(DESC)?([a-z][a-z0-9_.]*)")
_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "=": lambda value, wanted: value == wanted,
    "!=": lambda value, wanted: value != wanted,
    ">=": lambda value, wanted: value >= wanted,
    "<=": lambda value, wanted: value <= wanted,
    ">": lambda value, wanted: value > wanted,
    "<": lambda value, wanted: value < wanted,
    "IN": lambda value, wanted: value in wanted.split(","),
    "LIKE": lambda value, wanted: wanted in value,
    "STARTSWITH": lambda value, wanted: value.startswith(wanted),
}


def select(query: str, rows: Iterable[Row], columns: Collection[str]) -> list[Row]:
    """Return the rows that a query finds, in its order, over a table that has these columns.

    `^` is and, `^OR` or, `^NQ` begins another query. A condition on another column, or with an
    unknown operator, counts as if it were not there.
    """
    queries = [part.split("^") for part in query.split("^NQ")]
    tests = [_conditions(parts, columns) for parts in queries]
    found = [row for row in rows if any(_holds(row, test) for test in tests)]
    for part in reversed([part for parts in queries for part in parts]):
        if (order := _ORDER.fullmatch(part)) and order[2] in columns:
            found.sort(key=lambda row: _text(row, order[2]), reverse=bool(order[1]))
    return found


Condition = tuple[str, str, str]


def _conditions(parts: Sequence[str], columns: Collection[str]) -> list[list[Condition]]:
    """Return the conditions as an `and` of `or`s."""
    found: list[list[Condition]] = []
    for part in parts:
        another = part.startswith("OR") and not part.startswith("ORDERBY")
        match = _CONDITION.fullmatch(part[2:] if another else part)
        if match is None or match[1] not in columns:
            continue
        condition = (match[1], match[2], match[3])
        if another and found:
            found[-1].append(condition)
        else:
            found.append([condition])
    return found


def _holds(row: Row, conditions: Iterable[Sequence[Condition]]) -> bool:
    return all(
        any(_OPERATORS[operator](_text(row, name), wanted) for name, operator, wanted in either)
        for either in conditions
    )


def _text(row: Row, name: str) -> str:
    return str(row.get(name) or "")
