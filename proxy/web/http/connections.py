"""Limits on the connections of a listener: their number, and the time that a peer may be silent.

aiohttp itself limits neither their number nor the time until the head of a first request, and
waits for ever for a peer that does not read its response.
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
from proxy.web.http.responses import error_response
from proxy.web.http.trusted_proxies import TrustedProxies

_END_OF_HEAD: Final = b"\r\n\r\n"
_USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)
"""How long sent data may stay unacknowledged (RFC 5482); only on Linux."""

OnCut = Callable[[str], None]
"""Called with the reason that a connection was cut: too_many, too_many_of_client or silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits on the connections of a listener; times in milliseconds."""

    connections: int = 4_096
    """Open connections of all clients."""
    per_client: int = 512
    """Open connections of one client."""
    first_request: int = 10_000
    """Time until the whole head of the first request has arrived."""
    idle: int = 75_000
    """Time between two requests, and that a peer may leave a response unread."""


class Connections:
    """The open connections of one listener; a trusted proxy may hold all of them."""

    def __init__(self, limits: ConnectionLimits, proxies: TrustedProxies, on_cut: OnCut) -> None:
        self.limits = limits
        self.on_cut = on_cut
        self._proxies = proxies
        self._open: Counter[str] = Counter()

    def add(self, address: str) -> bool:
        """Count a new connection; False if it is over a limit."""
        client = _client(address)
        self._open[client] += 1
        if self._open.total() > self.limits.connections:
            self.on_cut("too_many")
            return False
        too_many = self._open[client] > self.limits.per_client
        if too_many and not self._proxies.is_trusted(address):
            self.on_cut("too_many_of_client")
            return False
        return True

    def remove(self, address: str) -> None:
        """Count a connection as closed."""
        client = _client(address)
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


def _client(address: str) -> str:
    """Return the client of an address: with IPv6, one client has a /64 (RFC 4291 2.5.4)."""
    try:
        ipv6 = IPv6Address(address)
    except ValueError:
        return address
    return str(ipv6.ipv4_mapped or IPv6Network((ipv6, 64), strict=False))


class Connection(web.RequestHandler):
    """One connection, as aiohttp serves it, within the limits."""

    def __init__(self, manager: web.Server, *, connections: Connections, **options: Any) -> None:
        super().__init__(manager, **options)
        self._connections = connections
        self._address = ""
        self._head = b""
        self._first_request: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, unless the connection is over a limit."""
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        accepted = self._connections.add(self._address)
        super().connection_made(transport)
        if not accepted:
            self.force_close()
            return
        if _USER_TIMEOUT is not None:
            own = transport.get_extra_info("socket")
            own.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, self._connections.limits.idle)
        timeout = self._connections.limits.first_request / 1_000
        self._first_request = asyncio.get_running_loop().call_later(timeout, self._cut_silent)

    @override
    def data_received(self, data: bytes) -> None:
        """Parse what arrived; the end of the first head ends the timeout for it."""
        if self._first_request is not None:
            self._head = self._head[-3:] + data
            if _END_OF_HEAD in self._head.lstrip(b"\r\n"):
                self._end_timeout()
        super().data_received(data)

    @override
    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume reading only if it was paused.

        aiohttp calls this after each read of a body, and would run its parser on nothing: 5 % of
        the time to accept a call.
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
        """Answer an unparseable call with problem details: aiohttp would quote the input."""
        super().handle_error(
            request, status, exc, message
        )  # logs it; raises if a response has begun
        error = Exception()
        if isinstance(exc, HttpProcessingError):
            error = InvalidRequestError(
                f"the request cannot be parsed as HTTP ({type(exc).__name__})"
            )
        response = error_response(error, unavailable=status)
        response.headers["Server"] = protocol.SERVER
        response.force_close()
        return response

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop serving."""
        self._connections.remove(self._address)
        self._end_timeout()
        super().connection_lost(exc)

    def _cut_silent(self) -> None:
        self._first_request = None
        self._connections.on_cut("silent")
        self.force_close()

    def _end_timeout(self) -> None:
        if self._first_request is not None:
            self._first_request.cancel()
            self._first_request = None


class BoundedSite(web.TCPSite):
    """Listens at one address, for connections within limits."""

    def __init__(self, *address: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*address, reuse_address=True, **options)
        self._connections = connections

    @override
    async def start(self) -> None:
        """Listen; raises OSError if the address cannot be bound."""
        await web.BaseSite.start(self)
        loop = asyncio.get_running_loop()
        limits = self._connections.limits
        options = {**protocol.limits(), "keepalive_timeout": limits.idle / 1_000}
        server = self._runner.server
        assert server is not None

        def connection() -> Connection:
            return Connection(server, loop=loop, connections=self._connections, **options)

        handshake = limits.first_request / 1_000 if self._ssl_context else None
        self._server = await loop.create_server(
            connection,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            reuse_address=True,
            ssl_handshake_timeout=handshake,
        )
