"""A clock that only tests move."""


class ManualClock:
    """Starts at a fixed moment (2026-01-01T00:00:00Z) and stands still."""

    def __init__(self) -> None:
        self._now = 1_767_225_600_000
        self._monotonic = 0

    def now(self) -> int:
        return self._now

    def monotonic(self) -> int:
        return self._monotonic

    def advance(self, milliseconds: int) -> None:
        """Let time pass on both clocks."""
        self._now += milliseconds
        self._monotonic += milliseconds
