"""Routes: chosen at admission, then frozen under their hash.

A changed mapping applies to new requests only. An open request keeps the status maps, templates
and limits under which its ticket was opened. Credentials and origins are always the present ones.
"""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from proxy.domain.models import ApprovalRequest, Record
from proxy.domain.route import Guards, PollSchedule, Route
from proxy.domain.routing import Rule, choose, facts
from proxy.errors import ConfigurationError, InvalidRequestError
from proxy.store.routes import RouteStore
from proxy.tickets.no_tickets import NoTickets
from proxy.tickets.port import TicketSystem

Opener = Callable[[Route], TicketSystem]


def freeze(route: Route) -> tuple[str, bytes]:
    """Return a route's hash (16 hexadecimal digits) and its canonical JSON."""
    text = orjson.dumps(dataclasses.asdict(route), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16], text


def thaw(text: bytes) -> Route:
    """Return the route in its JSON; fields of a newer version are ignored."""
    stored: Mapping[str, Any] = orjson.loads(text)
    parts = {
        "poll": PollSchedule(**_fields_of(PollSchedule, stored["poll"])),
        "guards": Guards(**_fields_of(Guards, stored.get("guards", {}))),
    }
    return Route(**{**_fields_of(Route, stored), **parts})


def _fields_of(kind: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in stored.items() if name in names}


class Routes:
    """The rules for new requests, and the frozen routes, each with its ticket system.

    `otherwise` is the route of requests to which no rule applies.
    """

    def __init__(
        self, *, rules: Sequence[Rule], otherwise: Route, store: RouteStore, open_system: Opener
    ) -> None:
        self._rules = rules
        self._otherwise = Rule(otherwise)
        self._store = store
        self._open_system = open_system
        self._opening = asyncio.Lock()  # compiling a declaration takes milliseconds: once is enough
        routes = [rule.route for rule in (*rules, self._otherwise)]
        self._texts = {route.name: freeze(route) for route in routes}
        self._frozen = {
            self._texts[route.name][0]: (route, self._system(route)) for route in routes
        }
        first = (*rules, self._otherwise)[0]
        self._only_route = self._hashed(first) if first.applies is None else None

    async def publish(self) -> None:
        """Store every route, before the first request is admitted under its hash."""
        for digest, text in self._texts.values():
            await self._store.remember_route(digest, text)

    def choose(self, read_request: Callable[[], ApprovalRequest]) -> tuple[str, Route]:
        """Return the route of a new request, with its hash.

        The request is read only if a condition needs it, because every hook call passes here.
        """
        if self._only_route is not None:
            return self._only_route
        return self._hashed(choose(self._rules, facts(read_request())) or self._otherwise)

    def first_to(self, system: str) -> tuple[str, Route]:
        """Return the first route to a ticket system, with its hash.

        Raises:
            InvalidRequestError: no route leads there.
        """
        for rule in self._rules:
            if system and rule.route.system == system:
                return self._hashed(rule)
        systems = sorted({rule.route.system for rule in self._rules} - {""})
        raise InvalidRequestError(
            f"system: no route leads to {system!r}; routes lead to {', '.join(systems) or 'none'}"
        )

    def _hashed(self, rule: Rule) -> tuple[str, Route]:
        return self._texts[rule.route.name][0], rule.route

    async def for_record(self, record: Record) -> tuple[Route, TicketSystem]:
        """Return the route that applies to a request, and its ticket system under that route.

        Raises:
            ConfigurationError: the store lost the route, or the settings lost the system.
        """
        if record.route not in self._frozen:
            async with self._opening:
                if record.route not in self._frozen:
                    self._frozen[record.route] = await self._thaw(record)
        return self._frozen[record.route]

    async def _thaw(self, record: Record) -> tuple[Route, TicketSystem]:
        text = await self._store.route(record.route)
        if text is None:
            raise ConfigurationError(
                f"request {record.id} was admitted under route {record.route}, which the store"
                " does not hold: was a part of the store lost?"
            )
        route = thaw(text)
        return route, self._system(route)

    def _system(self, route: Route) -> TicketSystem:
        return self._open_system(route) if route.system else NoTickets(route.name)
