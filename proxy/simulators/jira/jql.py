"""The part of JQL that a simulated Jira site knows: clauses joined by AND, and an order.

As at the real one, an unknown field, value or clause is an error and never ignored, a query without
any clause is unbounded and refused, and dates know minutes only, in the zone of who asks.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from proxy.simulators.jira.issues import TEXT_FIELD, Issue

MINUTE: Final = 60_000
_CLAUSE: Final = re.compile(
    r"""(?P<field>cf\[\d+\]|[a-z]+)\s*(?P<operator>=|~|>=|is\snot)\s*"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|-\d+m|EMPTY|[\w-]+)""",
    re.IGNORECASE,
)
_ORDER: Final = re.compile(r"(?:^|\s+)ORDER\s+BY\s+(\w+)(?:\s+(ASC|DESC))?\s*$", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+")


class Refused(ValueError):  # noqa: N818 - the name of the fact
    """The query is none that the site answers; the message is what it says of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """When somebody asks, in milliseconds of the site's clock, and in which zone (minutes)."""

    now: int
    zone: int


Test = Callable[[Issue], bool]


def search(query: str, issues: Iterable[Issue], asked: Asked) -> list[Issue]:
    """Return the issues that a query finds, in its order.

    Raises:
        Refused: it is not understood, or finds everything.
    """
    ordered = _ORDER.search(query)
    clauses = query[: ordered.start()] if ordered else query
    if not clauses.strip():
        raise Refused("Unbounded JQL queries are not allowed here. Please add a search restriction")
    tests = [_test(part.strip(), asked) for part in re.split(r"\sAND\s", clauses)]
    found = [issue for issue in issues if all(test(issue) for test in tests)]
    by = ordered[1].lower() if ordered else "created"
    found.sort(key=lambda it: (it.now.updated if by == "updated" else it.created, int(it.id)))
    return found[::-1] if ordered and (ordered[2] or "").upper() == "DESC" else found


def _test(clause: str, asked: Asked) -> Test:
    parsed = _CLAUSE.fullmatch(clause)
    if parsed is None:
        raise Refused(f"Error in the JQL Query: {clause!r} is not understood")
    field, operator = parsed["field"].lower(), re.sub(r"\s+", " ", parsed["operator"].lower())
    value = parsed["value"]
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    match field, operator:
        case "labels", "=":
            return lambda it: value in it.now.fields.get("labels", ())
        case "project", "=":
            return lambda it: it.now.key.partition("-")[0] == value
        case "updated", ">=":
            since = _date(value, asked)
            return lambda it: it.now.updated // MINUTE >= since // MINUTE
        case _, "~" if field == _in_jql(TEXT_FIELD):
            words = _WORD.findall(value.strip('"').lower())
            return lambda it: _has_phrase(str(it.now.fields.get(TEXT_FIELD, "")), words)
        case _, "is not" if field == _in_jql(TEXT_FIELD) and value.upper() == "EMPTY":
            return lambda it: bool(it.now.fields.get(TEXT_FIELD))
        case _:
            hidden = "does not exist or you do not have permission to view it."
            raise Refused(f"Field '{parsed['field']}' {hidden}")


def _in_jql(field: str) -> str:
    return f"cf[{field.removeprefix('customfield_')}]"


def _has_phrase(text: str, words: Sequence[str]) -> bool:
    """Whether a text holds these words in a row: `~` knows words and no punctuation."""
    its = _WORD.findall(text.lower())
    size = len(words)
    return any(its[at : at + size] == list(words) for at in range(len(its) - size + 1))


def _date(value: str, asked: Asked) -> int:
    """Return a date of a query in milliseconds: relative to now, or in the zone of who asks."""
    if value.startswith("-"):
        return asked.now - int(value[1:-1]) * MINUTE
    zone = timezone(timedelta(minutes=asked.zone))
    try:
        moment = datetime.strptime(value, "%Y-%m-%d %H:%M").replace(tzinfo=zone)
    except ValueError as error:
        raise Refused(f"Date value '{value}' for field 'updated' is invalid.") from error
    return int(moment.timestamp() * 1_000)
