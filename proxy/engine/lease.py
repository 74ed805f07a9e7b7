"""The lease: the time for which one claim may change a record, measured from before the claim."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from proxy.domain.clock import Clock
from proxy.errors import TemporaryError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of a claimed record, and the store's time derived from it."""

    clock: Clock
    """The clock of this process."""
    claimed_at: int
    """The store's time of the claim, in milliseconds since the epoch."""
    began: int
    """The monotonic time before the claim was sent, in milliseconds."""
    received: int
    """The monotonic time after the claim was answered, in milliseconds."""
    length: int
    """The length of the lease in milliseconds."""
    margin: int
    """The milliseconds at its end that are reserved for the last write."""
    run_id: str = ""
    """The run id of the store's server, for records without a known ticket."""

    def earliest_now(self) -> int:
        """Return the store's time, early rather than late, so that no wait is too short."""
        return self.claimed_at + self.clock.monotonic() - self.received

    def latest_now(self) -> int:
        """Return the store's time, late rather than early: for the time at which a call is sent."""
        return self.claimed_at + self.clock.monotonic() - self.began

    def remaining(self) -> int:
        """Return the milliseconds for which no other worker can claim the record."""
        return self.length - self.margin - (self.clock.monotonic() - self.began)

    async def run_within(self, call: Awaitable[Result], what: str) -> Result:
        """Await a call to another system for as long as the lease lasts.

        Raises:
            TemporaryError: the lease ran out; the call may have had its effect.
        """
        try:
            async with asyncio.timeout(self.remaining() / 1_000):
                return await call
        except TimeoutError as error:
            raise TemporaryError(
                f"{what} took longer than the lease allows", maybe_sent=True
            ) from error
