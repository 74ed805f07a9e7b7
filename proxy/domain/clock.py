"""Clocks: every object that needs the time takes one, so that tests can move it."""

import time
from typing import Protocol


class Clock(Protocol):
    """The wall clock and the monotonic clock."""

    def now(self) -> int:
        """Return milliseconds since the epoch: for records; may jump."""
        ...

    def monotonic(self) -> int:
        """Return milliseconds since an unspecified start: for leases and timeouts; never jumps."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> int:
        """Return the wall clock."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        """Return the monotonic clock."""
        return time.monotonic_ns() // 1_000_000
