"""Bulkheads: how many steps of this process may use one destination at once.

A destination that hangs keeps its own permits busy and leaves the worker free for all others.
"""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Final, Self

PERMIT_TIMEOUT_SECONDS: Final = 0.25
"""How long a step waits for a permit: a destination that answers has freed one by then."""


class Bulkhead:
    """The permits of this process for steps at one destination."""

    def __init__(self, share: int) -> None:
        self._free = asyncio.Semaphore(share)
        self._full_since = 0.0

    async def acquire(self) -> bool:
        """Take a permit; False if none becomes free in time.

        If all were taken for longer than the timeout already, it does not wait.
        """
        now = asyncio.get_running_loop().time
        full = self._free.locked()  # rarely true: usually a permit is free
        if full and now() - self._full_since > PERMIT_TIMEOUT_SECONDS:
            return False
        try:
            async with asyncio.timeout(PERMIT_TIMEOUT_SECONDS) if full else nullcontext():
                await self._free.acquire()
        except TimeoutError:
            return False
        if self._free.locked():
            self._full_since = now()
        return True

    def release(self) -> None:
        """Give a permit back."""
        self._free.release()


class Permit:
    """The permit of one request, for the one destination that it uses now.

    It is taken before anything is written or sent, so that of many steps that start together only
    as many continue as the destination has permits.
    """

    def __init__(self, bulkhead_of: Callable[[str], Bulkhead]) -> None:
        self._bulkhead_of = bulkhead_of
        self._held: Bulkhead | None = None

    async def acquire(self, destination: str) -> bool:
        """Give back the last permit and take one for this destination; False if none is free."""
        self.release()
        bulkhead = self._bulkhead_of(destination)
        if not await bulkhead.acquire():
            return False
        self._held = bulkhead
        return True

    def release(self) -> None:
        """Give the permit back, if one is held."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
