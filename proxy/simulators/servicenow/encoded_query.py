"""ServiceNow's encoded queries, with their pitfall: unknown conditions are silently ignored."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

_CONDITION: Final = re.compile(
    r"([a-z][a-z0-9_.]*)(>=|<=|!=|=|>|<|IN|LIKE|STARTSWITH)(.*)", re.DOTALL
)
_ORDER: Final = re.compile(r"ORDERBY(DESC)?([a-z][a-z0-9_.]*)")
_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "=": lambda value, operand: value == operand,
    "!=": lambda value, operand: value != operand,
    ">=": lambda value, operand: value >= operand,
    "<=": lambda value, operand: value <= operand,
    ">": lambda value, operand: value > operand,
    "<": lambda value, operand: value < operand,
    "IN": lambda value, operand: value in operand.split(","),
    "LIKE": lambda value, operand: operand in value,
    "STARTSWITH": lambda value, operand: value.startswith(operand),
}


def select(query: str, rows: Iterable[Row], columns: Collection[str]) -> list[Row]:
    """Return the rows that match a query, in its order, from a table with these columns.

    `^` is and, `^OR` is or, `^NQ` begins another query. A condition on another column, or with an
    unknown operator, is ignored.
    """
    queries = [part.split("^") for part in query.split("^NQ")]
    tests = [_conditions(parts, columns) for parts in queries]
    matches = [row for row in rows if any(_holds(row, test) for test in tests)]
    for part in reversed([part for parts in queries for part in parts]):
        if (order := _ORDER.fullmatch(part)) and order[2] in columns:
            matches.sort(key=lambda row: _text(row, order[2]), reverse=bool(order[1]))
    return matches


Condition = tuple[str, str, str]


def _conditions(parts: Sequence[str], columns: Collection[str]) -> list[list[Condition]]:
    """Return the conditions as an `and` of `or`s."""
    groups: list[list[Condition]] = []
    for part in parts:
        another = part.startswith("OR") and not part.startswith("ORDERBY")
        match = _CONDITION.fullmatch(part[2:] if another else part)
        if match is None or match[1] not in columns:
            continue
        condition = (match[1], match[2], match[3])
        if another and groups:
            groups[-1].append(condition)
        else:
            groups.append([condition])
    return groups


def _holds(row: Row, conditions: Iterable[Sequence[Condition]]) -> bool:
    return all(
        any(_OPERATORS[operator](_text(row, name), operand) for name, operator, operand in either)
        for either in conditions
    )


def _text(row: Row, name: str) -> str:
    return str(row.get(name) or "")
