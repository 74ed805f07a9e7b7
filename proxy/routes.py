"""The route of a request: chosen once at admission, then frozen under its hash.

A changed mapping applies to new requests only: an open one keeps the status maps, templates and
limits under which its ticket was opened. Credentials and origins are always the present ones.
"""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from proxy.domain.models import Poll, Record, Route
from proxy.errors import ConfigurationError
from proxy.store.shared import Shared
from proxy.tickets.port import TicketSystem

Opener = Callable[[Route], TicketSystem]


def freeze(route: Route) -> tuple[str, bytes]:
    """Return a route's hash (16 hexadecimal digits) and its canonical JSON."""
    text = orjson.dumps(dataclasses.asdict(route), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16], text


def thaw(text: bytes) -> Route:
    """Return the route in its JSON; fields of a newer version are ignored."""
    found: Mapping[str, Any] = orjson.loads(text)
    names = {field.name for field in dataclasses.fields(Route)} - {"poll"}
    fields = {name: value for name, value in found.items() if name in names}
    return Route(**fields, poll=Poll(**found["poll"]))


class Routes:
    """The default route for new requests, and every frozen one with its ticket system."""

    def __init__(self, *, default: Route, shared: Shared, open_system: Opener) -> None:
        self.default = default
        self.digest, self._text = freeze(default)
        self._shared = shared
        self._open_system = open_system
        self._opening = asyncio.Lock()  # compiling a declaration takes milliseconds: do it once
        self._frozen = {self.digest: (default, open_system(default))}

    async def publish(self) -> None:
        """Store the default route, before the first request is admitted under its hash."""
        await self._shared.remember_route(self.digest, self._text)

    async def of(self, record: Record) -> tuple[Route, TicketSystem]:
        """Return the route that applies to a request, and its ticket system under that route.

        Raises:
            ConfigurationError: the store lost the route, or the settings lost the system.
        """
        if record.route not in self._frozen:
            async with self._opening:
                if record.route not in self._frozen:
                    self._frozen[record.route] = await self._thawed(record)
        return self._frozen[record.route]

    async def _thawed(self, record: Record) -> tuple[Route, TicketSystem]:
        text = await self._shared.route(record.route)
        if text is None:
            raise ConfigurationError(
                f"request {record.id} was admitted under route {record.route}, which the store"
                " does not hold: was a part of the store lost?"
            )
        route = thaw(text)
        return route, self._open_system(route)
