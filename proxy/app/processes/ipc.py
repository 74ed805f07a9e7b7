"""Messages between a process and the worker processes that it started, over a stream."""

import asyncio
from typing import Final

_LENGTH: Final = 4  # bytes before each message


async def receive(stream: asyncio.StreamReader) -> bytes | None:
    """Return the next message; None when the other side is gone."""
    try:
        length = await stream.readexactly(_LENGTH)
        return await stream.readexactly(int.from_bytes(length))
    except (asyncio.IncompleteReadError, OSError):
        return None


def send(stream: asyncio.StreamWriter, message: bytes = b"") -> None:
    """Send a message; to who is gone, none."""
    stream.write(len(message).to_bytes(_LENGTH) + message)
