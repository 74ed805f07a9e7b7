"""The subset of JQL that a simulated Jira site supports: clauses joined by AND, and an order.

As at a real site, an unknown field, value or clause is an error and never ignored, a query without
clauses is unbounded and refused, and dates have minutes only, in the time zone of the account.
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


class JqlError(ValueError):
    """The query is refused; the message is the site's."""


@dataclass(frozen=True, slots=True)
class QueryContext:
    """The site's time in milliseconds, and the time zone of the account in minutes."""

    now: int
    zone: int


Test = Callable[[Issue], bool]


def search(query: str, issues: Iterable[Issue], context: QueryContext) -> list[Issue]:
    """Return the issues that match a query, in its order.

    Raises:
        JqlError: the query is not understood, or unbounded.
    """
    ordered = _ORDER.search(query)
    clauses = query[: ordered.start()] if ordered else query
    if not clauses.strip():
        raise JqlError(
            "Unbounded JQL queries are not allowed here. Please add a search restriction"
        )
    tests = [_test(part.strip(), context) for part in re.split(r"\sAND\s", clauses)]
    matches = [issue for issue in issues if all(test(issue) for test in tests)]
    by = ordered[1].lower() if ordered else "created"
    matches.sort(
        key=lambda issue: (issue.state.updated if by == "updated" else issue.created, int(issue.id))
    )
    return matches[::-1] if ordered and (ordered[2] or "").upper() == "DESC" else matches


def _test(clause: str, context: QueryContext) -> Test:
    parsed = _CLAUSE.fullmatch(clause)
    if parsed is None:
        raise JqlError(f"Error in the JQL Query: {clause!r} is not understood")
    field, operator = parsed["field"].lower(), re.sub(r"\s+", " ", parsed["operator"].lower())
    value = parsed["value"]
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    match field, operator:
        case "labels", "=":
            return lambda issue: value in issue.state.fields.get("labels", ())
        case "project", "=":
            return lambda issue: issue.state.key.partition("-")[0] == value
        case "updated", ">=":
            since = _date(value, context)
            return lambda issue: issue.state.updated // MINUTE >= since // MINUTE
        case _, "~" if field == _in_jql(TEXT_FIELD):
            phrase = _WORD.findall(value.strip('"').lower())
            return lambda issue: _has_phrase(str(issue.state.fields.get(TEXT_FIELD, "")), phrase)
        case _, "is not" if field == _in_jql(TEXT_FIELD) and value.upper() == "EMPTY":
            return lambda issue: bool(issue.state.fields.get(TEXT_FIELD))
        case _:
            hidden = "does not exist or you do not have permission to view it."
            raise JqlError(f"Field '{parsed['field']}' {hidden}")


def _in_jql(field: str) -> str:
    return f"cf[{field.removeprefix('customfield_')}]"


def _has_phrase(text: str, phrase: Sequence[str]) -> bool:
    """Return True if a text has these words in a row: `~` compares words, not punctuation."""
    text_words = _WORD.findall(text.lower())
    size = len(phrase)
    return any(
        text_words[at : at + size] == list(phrase) for at in range(len(text_words) - size + 1)
    )


def _date(value: str, context: QueryContext) -> int:
    """Return a date of a query in milliseconds: relative to now, or in the account's zone."""
    if value.startswith("-"):
        return context.now - int(value[1:-1]) * MINUTE
    zone = timezone(timedelta(minutes=context.zone))
    try:
        moment = datetime.strptime(value, "%Y-%m-%d %H:%M").replace(tzinfo=zone)
    except ValueError as error:
        raise JqlError(f"Date value '{value}' for field 'updated' is invalid.") from error
    return int(moment.timestamp() * 1_000)
