"""Connections only to addresses that the egress policy of their destination allows.

The socket of every connection is made here for its final IP address, whether the URL had a name or
a literal (aiohttp resolves no literals), so the address cannot change between check and use.
"""

import socket
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection
from typing_extensions import override

from proxy.net.addresses import EgressPolicy


@dataclass(slots=True)
class Progress:
    """How far an attempt to send came: without a connection, nothing can have been sent."""

    egress: EgressPolicy
    """The addresses that may be connected to."""
    connected: bool = False
    """True from the moment a connection is there: the call may have arrived."""
    tried: bool = False
    """True if any address was tried."""
    refused: list[str] = field(default_factory=list)
    """Why addresses were not tried."""


PROGRESS: Final[ContextVar[Progress]] = ContextVar("progress")
"""The current attempt of this task; without one, no connection is made."""


class Connector(aiohttp.TCPConnector):
    """A connection pool whose sockets are made only for allowed addresses."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        # each destination bounds its own calls
        super().__init__(limit=0, socket_factory=_guarded, resolver=resolver)

    @override
    async def connect(self, *call: Any, **how: Any) -> Connection:
        """Return a connection for the attempt in `PROGRESS`, and mark that it has one.

        From then on the call may arrive, even if no answer comes back.
        """
        connection = await super().connect(*call, **how)
        if progress := PROGRESS.get(None):
            progress.connected = True
        return connection


def _guarded(address_info: tuple[Any, ...]) -> socket.socket:
    """Return the socket for an address as getaddrinfo describes it.

    Raises:
        OSError: the address is not allowed; aiohttp goes on with the next address of a name.
    """
    family, kind, protocol, _, address = address_info
    progress = PROGRESS.get(None)
    if progress is None:
        raise PermissionError("a connection that no destination asked for")
    if reason := progress.egress.refusal_reason(str(address[0]).partition("%")[0]):
        progress.refused.append(reason)
        raise PermissionError(reason)
    progress.tried = True
    return socket.socket(family, kind, protocol)
