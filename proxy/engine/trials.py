"""Trials: test requests that an operator opens to try a ticket system."""

from collections.abc import Mapping
from typing import Any, Final

from proxy.witboost import fields as read

_TEST: Final = "TEST of the approval proxy: please decide this ticket. Nobody gets any access."


def test_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hook call fields of a trial: the given ones or defaults, marked as a test.

    The marks are in the identities and the motivation, which nearly every ticket title and
    description shows.
    """
    plain = {"verb": "grant", "requester": "TEST", "resource": "TEST"}
    marked = [f"TEST {person}" for person in read.identities(fields)] or ["TEST"]
    why = f"{_TEST} {read.motivation(fields)}".rstrip()
    return {**plain, **fields, "identities": marked, "motivation": why}
