"""A bounded wait for what announces itself in no other way, such as the end of a foreign process.

Where there is something to await (a queue, an event, the end of a connection), await that instead.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]], *, within: float = 5.0, what: str = ""
) -> None:
    """Return as soon as the predicate holds; fail the test if it does not within some seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = predicate()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or predicate}")
        await asyncio.sleep(0.005)
