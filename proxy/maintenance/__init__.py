"""Maintenance: the doctor's findings and the export of a store."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Is called with the number of steps that are done, and of all steps."""


def no_progress(_done: int, _total: int) -> None:
    """Report no progress."""
