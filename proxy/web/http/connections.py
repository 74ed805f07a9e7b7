"""Connections to a listener: how many at once, and how long one may say or take nothing.

aiohttp itself bounds neither their number nor the time that the head of a first request takes, and
waits for ever for a peer that does not read its answer.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from typing_extensions import override

from proxy.errors import InvalidRequestError
from proxy.web.http import protocol
from proxy.web.http.responses import refusal
from proxy.web.http.trusted_proxies import TrustedProxies

_END_OF_HEAD: Final = b"\r\n\r\n"
_UNREAD: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)
"""RFC 5482; on Linux alone."""

Refused = Callable[[str], None]
"""Is told why a connection was cut: `too_many`, `too_many_of_client` or `silent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many connections at once, all together and of one client; times in milliseconds.

    `first_request` is for the head of the first request, `idle` for the pause between two, and for
    an answer that the peer does not read.
    """

    connections: int = 4_096
    per_client: int = 512
    first_request: int = 10_000
    idle: int = 75_000


class Connections:
    """The open connections of one listener; a trusted proxy may have all of them."""

    def __init__(self, bounds: Bounds, peers: TrustedProxies, refused: Refused) -> None:
        self.bounds = bounds
        self.refused = refused
        self._peers = peers
        self._open: Counter[str] = Counter()

    def come(self, address: str) -> bool:
        """Count a new connection; False if it is one too many."""
        client = _client(address)
        self._open[client] += 1
        if self._open.total() > self.bounds.connections:
            self.refused("too_many")
            return False
        many = self._open[client] > self.bounds.per_client
        if many and not self._peers.is_trusted(address):
            self.refused("too_many_of_client")
            return False
        return True

    def go(self, address: str) -> None:
        """Forget a connection."""
        client = _client(address)
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


def _client(address: str) -> str:
    """Return whom an address counts for: a client with IPv6 has a whole /64 (RFC 4291 2.5.4)."""
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))


class Connection(web.RequestHandler):
    """One connection, as aiohttp serves it, within its bounds."""

    def __init__(self, manager: web.Server, *, connections: Connections, **how: Any) -> None:
        super().__init__(manager, **how)
        self._connections = connections
        self._address = ""
        self._head = b""
        self._silence: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless it is one too many."""
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        fine = self._connections.come(self._address)
        super().connection_made(transport)
        if not fine:
            self.force_close()
            return
        if _UNREAD is not None:
            own = transport.get_extra_info("socket")
            own.setsockopt(socket.IPPROTO_TCP, _UNREAD, self._connections.bounds.idle)
        within = self._connections.bounds.first_request / 1_000
        self._silence = asyncio.get_running_loop().call_later(within, self._silent)

    @override
    def data_received(self, data: bytes) -> None:
        """Take what came; the first whole head ends the wait for it."""
        if self._silence is not None:
            self._head = self._head[-3:] + data
            if _END_OF_HEAD in self._head.lstrip(b"\r\n"):
                self._listen_no_longer()
        super().data_received(data)

    @override
    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading where reading was paused.

        aiohttp asks for it after each read of a body, and parses nothing once more: 5 % of
        accepting a call.
        """
        if self._reading_paused:
            super().resume_reading(resume_parser)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what reached no route, as all else is answered: aiohttp would quote what came."""
        super().handle_error(request, status, exc, message)  # logs it; raises after an answer
        said = Exception()
        if isinstance(exc, HttpProcessingError):
            said = InvalidRequestError(f"the request cannot be read as HTTP ({type(exc).__name__})")
        answer = refusal(said, unavailable=status)
        answer.headers["Server"] = protocol.SERVER
        answer.force_close()
        return answer

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._connections.go(self._address)
        self._listen_no_longer()
        super().connection_lost(exc)

    def _silent(self) -> None:
        self._silence = None
        self._connections.refused("silent")
        self.force_close()

    def _listen_no_longer(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None


class BoundedSite(web.TCPSite):
    """Listens at one place, for connections within bounds."""

    def __init__(self, *where: Any, connections: Connections, **how: Any) -> None:
        super().__init__(*where, reuse_address=True, **how)
        self._connections = connections

    @override
    async def start(self) -> None:
        """Listen; raises OSError where that is not possible."""
        await web.BaseSite.start(self)
        loop = asyncio.get_running_loop()
        bounds = self._connections.bounds
        how = {**protocol.limits(), "keepalive_timeout": bounds.idle / 1_000}
        server = self._runner.server
        assert server is not None

        def connection() -> Connection:
            return Connection(server, loop=loop, connections=self._connections, **how)

        handshake = bounds.first_request / 1_000 if self._ssl_context else None
        self._server = await loop.create_server(
            connection,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            reuse_address=True,
            ssl_handshake_timeout=handshake,
        )
