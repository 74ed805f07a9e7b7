"""The simulated JQL refuses what it does not know, and knows minutes in somebody's zone only."""

from collections.abc import Sequence

import pytest

from proxy.simulators.jira.issues import TEXT_FIELD, Issues
from proxy.simulators.jira.jql import JqlError, QueryContext, search
from tests.support.manual_clock import ManualClock

MINUTE = 60_000
ROME = 60  # minutes that the zone of who asks is ahead
FIELD = f"cf[{TEXT_FIELD.removeprefix('customfield_')}]"


def found(query: str, *, zone: int = 0) -> Sequence[str]:
    """Return the keys of what a query finds, asked at 00:10 UTC.

    ACC-1 was changed at 00:00:00, ACC-2 at 00:05:30.
    """
    clock = ManualClock()  # 2026-01-01T00:00:00Z
    issues = Issues(clock, 0, initial="Open", steps=1)
    issues.create("ACC", {"labels": ["a"], TEXT_FIELD: "ar-1"}, reporter="ada")
    clock.advance(5 * MINUTE + 30_000)
    issues.create("ACC", {TEXT_FIELD: "ar 1 and more"}, reporter="ada")
    clock.advance(4 * MINUTE + 30_000)
    return [it.state.key for it in search(query, issues, QueryContext(clock.now(), zone))]


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ('labels = "a"', ["ACC-1"]),
        ('project = "ACC" ORDER BY created DESC', ["ACC-2", "ACC-1"]),
        (f'{FIELD} ~ "\\"ar-1\\""', ["ACC-1", "ACC-2"]),  # words, not signs
        (f"{FIELD} is not EMPTY AND updated >= -5m", ["ACC-2"]),
        ("updated >= -4m", []),
        ('updated >= "2026-01-01 00:05"', ["ACC-2"]),  # of that minute, though half of it is over
        ('updated >= "2026-01-01 00:06"', []),
    ],
)
def test_what_is_known_is_found(query: str, keys: list[str]) -> None:
    assert found(query) == keys


def test_a_date_is_read_in_the_zone_of_who_asks() -> None:
    """What we would send in UTC finds an hour too much, or too little."""
    assert found('updated >= "2026-01-01 00:06"', zone=ROME) == ["ACC-1", "ACC-2"]
    assert found('updated >= "2026-01-01 00:00"', zone=-ROME) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "Unbounded"),
        ("ORDER BY created ASC", "Unbounded"),
        ('cf[1] ~ "x"', "does not exist or you do not have permission"),
        ('summary = "x"', "does not exist"),
        ('updated >= "yesterday"', "is invalid"),
        ('labels = "a" OR labels = "b"', "is not understood"),
        ("labels", "is not understood"),
    ],
)
def test_what_is_not_known_is_refused(query: str, said: str) -> None:
    with pytest.raises(JqlError, match=said):
        found(query)
