"""Raw HTTP/1.1 for measuring: as little Python per call as possible, no features."""

import asyncio
from collections.abc import Callable
from typing import cast

from typing_extensions import override


def length_of(head: bytes) -> int:
    """Return the Content-Length in a message's head, 0 where there is none."""
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


class Messages(asyncio.Protocol):
    """Cuts a connection's bytes into messages: first line, whole head, body."""

    def __init__(self, take: Callable[["Messages", bytes, bytes], None]) -> None:
        self._take = take
        self._buffer = b""
        self.transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + length_of(buffer[:end])
            if len(buffer) < whole:
                break
            self._take(self, buffer[:end], buffer[end + 4 : whole])
            buffer = buffer[whole:]
        self._buffer = buffer

    def send(self, data: bytes) -> None:
        """Write to the other side, if it is still there."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)
