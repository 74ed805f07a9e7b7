"""The time that one claim gives: one absolute limit, measured from before the claim."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from proxy.domain.clock import Clock
from proxy.errors import TemporaryError

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker knows about time while it holds a record.

    `began` and `received` are monotonic moments before and after the claim; `claimed_at` is the
    store's time of the claim, between them. `length` and `margin` are milliseconds; the margin is
    what the last write needs. `run_id` is that of the store's server, where no ticket is known yet.
    """

    clock: Clock
    claimed_at: int
    began: int
    received: int
    length: int
    margin: int
    run_id: str = ""

    def earliest_now(self) -> int:
        """Return the store's time, rather too early than too late: a wait is never too short."""
        return self.claimed_at + self.clock.monotonic() - self.received

    def latest_now(self) -> int:
        """Return the store's time, rather too late than too early: for what was sent when."""
        return self.claimed_at + self.clock.monotonic() - self.began

    def remaining(self) -> int:
        """Return the milliseconds for which the record is certainly ours."""
        return self.length - self.margin - (self.clock.monotonic() - self.began)

    async def run_within(self, question: Awaitable[Answer], what: str) -> Answer:
        """Await a call to the other side for as long as the record is ours.

        Raises:
            TemporaryError: the lease ran out; the call may have had its effect.
        """
        try:
            async with asyncio.timeout(self.remaining() / 1_000):
                return await question
        except TimeoutError as error:
            raise TemporaryError(
                f"{what} took longer than the lease allows", maybe_sent=True
            ) from error
