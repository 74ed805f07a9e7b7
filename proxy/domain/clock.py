"""Time, injected: everything that needs it takes a clock, so tests can move it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one to write down, one to measure with."""

    def now(self) -> int:
        """Milliseconds since the epoch: may jump, is written into records."""
        ...

    def monotonic(self) -> int:
        """Milliseconds since some moment: never jumps, measures leases and timeouts."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> int:
        """Return the wall clock."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        """Return the monotonic clock."""
        return time.monotonic_ns() // 1_000_000
