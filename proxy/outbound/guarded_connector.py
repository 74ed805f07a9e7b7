"""Where connections go: noted once they are made, and refused where they must not lead.

The socket of every connection is made here with its final address in hand, whether it was a name
or a literal (aiohttp asks no resolver for those), so nothing can change between check and use.
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
    """How far a try came: without a connection nothing can have been sent.

    `refused` says why addresses were not tried; `tried` whether any was.
    """

    reach: EgressPolicy
    connected: bool = False
    tried: bool = False
    refused: list[str] = field(default_factory=list)


PROGRESS: Final[ContextVar[Progress]] = ContextVar("progress")
"""The try that this task is at; without one, no connection is made."""


class Connector(aiohttp.TCPConnector):
    """Makes connections only where the destination that wants one may go."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        # each destination bounds its own calls
        super().__init__(limit=0, socket_factory=_guarded, resolver=resolver)

    @override
    async def connect(self, *call: Any, **how: Any) -> Connection:
        """Return a connection for the call whose progress the context holds.

        From then on the call may arrive, whatever is heard of it.
        """
        connection = await super().connect(*call, **how)
        if progress := PROGRESS.get(None):
            progress.connected = True
        return connection


def _guarded(found: tuple[Any, ...]) -> socket.socket:
    """Return the socket for an address as getaddrinfo describes it.

    Raises:
        OSError: nothing may connect there; aiohttp goes on with the next address of a name.
    """
    family, kind, protocol, _, place = found
    progress = PROGRESS.get(None)
    if progress is None:
        raise PermissionError("a connection that no destination asked for")
    if objection := progress.reach.refusal_reason(str(place[0]).partition("%")[0]):
        progress.refused.append(objection)
        raise PermissionError(objection)
    progress.tried = True
    return socket.socket(family, kind, protocol)
