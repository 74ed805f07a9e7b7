"""Bulkheads: how many steps of this process may use one destination at once."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Final, Self

PATIENCE: Final = 0.25
"""Seconds that a step waits for a place: a system that answers has made room by then."""


class Bulkhead:
    """The places that this process has for steps at one destination."""

    def __init__(self, share: int) -> None:
        self._free = asyncio.Semaphore(share)
        self._full_since = 0.0

    async def take(self) -> bool:
        """Take a place; False where none becomes free, at once where that is known already."""
        now = asyncio.get_running_loop().time
        full = self._free.locked()  # as good as never, and a free place is taken at once
        if full and now() - self._full_since > PATIENCE:
            return False
        try:
            async with asyncio.timeout(PATIENCE) if full else nullcontext():
                await self._free.acquire()
        except TimeoutError:
            return False
        if self._free.locked():
            self._full_since = now()
        return True

    def leave(self) -> None:
        """Make room for the next."""
        self._free.release()


class Permit:
    """The place that a request has at the one destination it uses now; left at the end.

    It is taken before anything is written or sent: of many steps that start together, no more
    than there is room for may go on.
    """

    def __init__(self, at: Callable[[str], Bulkhead]) -> None:
        self._at = at
        self._held: Bulkhead | None = None

    async def acquire(self, name: str) -> bool:
        """Leave the place before, and take one here; False where there is none."""
        self.release()
        places = self._at(name)
        if not await places.take():
            return False
        self._held = places
        return True

    def release(self) -> None:
        """Give the place back, if there is one."""
        if self._held is not None:
            self._held.leave()
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
