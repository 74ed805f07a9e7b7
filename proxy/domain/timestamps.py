"""Timestamps as text (RFC 3339, UTC) from milliseconds since the epoch."""

from datetime import UTC, datetime


def utc(milliseconds: int) -> datetime:
    """Return the time in UTC, rounded down to the second."""
    return datetime.fromtimestamp(milliseconds // 1_000, UTC)


def rfc3339(milliseconds: int) -> str:
    """Return a timestamp with milliseconds, such as 2026-01-31T08:00:00.000Z."""
    moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_seconds(milliseconds: int | None) -> str:
    """Return a timestamp to the second, such as 2026-01-31T08:00:00Z; empty for None.

    Other systems get this one: some refuse fractions, and a time that is rounded down is never
    still to come.
    """
    if milliseconds is None:
        return ""
    return utc(milliseconds).isoformat().replace("+00:00", "Z")
