"""Messages over the control socket between a process and its worker processes."""

import asyncio
from typing import Final

_LENGTH_BYTES: Final = 4  # the length before each message


async def receive(stream: asyncio.StreamReader) -> bytes | None:
    """Return the next message; None if the peer has closed."""
    try:
        length = await stream.readexactly(_LENGTH_BYTES)
        return await stream.readexactly(int.from_bytes(length))
    except (asyncio.IncompleteReadError, OSError):
        return None


def send(stream: asyncio.StreamWriter, message: bytes = b"") -> None:
    """Send a message; does nothing if the peer has closed."""
    stream.write(len(message).to_bytes(_LENGTH_BYTES) + message)
