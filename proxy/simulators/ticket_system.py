"""What simulated ticket systems share: OAuth2 before their API, events, tickets to wait for."""

import asyncio
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, Final, Required, Unpack

from aiohttp import web
from typing_extensions import override

from proxy.simulators import events
from proxy.simulators.authorization import AuthorizationServer
from proxy.simulators.faults import HTTP, Kind
from proxy.simulators.server import Effect, Serving, Simulator

API: Final[frozenset[Kind]] = HTTP | {"expire"}
FAULTS: Final[Mapping[str, frozenset[Kind]]] = {
    "token": HTTP,
    "create": API,
    "find": API | {"lag"},
    "read": API | {"stale"},
    "event": events.FAULTS,
}
"""What can go wrong at any of them, by operation."""


class Account(Serving, total=False):
    """Who may call a simulated ticket system, how long tokens live (seconds), where events go."""

    client_id: Required[str]
    client_secret: Required[str]
    event_secret: Required[str]
    events_to: str | None
    expires_in: int | None


class TicketSimulator(Simulator):
    """A ticket system behind OAuth2 that pushes events; `write` is how it writes them."""

    def __init__(
        self,
        *,
        kinds: Mapping[str, Collection[Kind]],
        client_id: str,
        client_secret: str,
        event_secret: str,
        events_to: str | None = None,
        expires_in: int | None = 3600,
        scopes: Collection[str] = (),
        write: events.Write = events.desk_letter,
        **serving: Unpack[Serving],
    ) -> None:
        super().__init__(kinds=kinds, **serving)
        self.authorization = AuthorizationServer(
            client_id=client_id,
            client_secret=client_secret,
            journal=self.journal,
            clock=self.clock,
            expires_in=expires_in,
            scopes=scopes,
        )
        self.events = events.Events(
            target=events_to,
            secret=event_secret,
            journal=self.journal,
            faults=self.faults,
            clock=self.clock,
            write=write,
        )
        self._created: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def created(self, *, within: float = 5.0) -> dict[str, Any]:
        """Return the next ticket created, as it was shown at its creation.

        Raises TimeoutError after `within` seconds.
        """
        return await asyncio.wait_for(self._created.get(), within)

    async def events_sent(self) -> None:
        """Wait until no event is on its way."""
        await self.events.sent()

    @override
    async def down(self) -> None:
        await self.events.close()
        await super().down()

    def api(self, operation: str, effect: Effect) -> Effect:
        """Return what answers a call of the API: with a good token only, and with its faults."""

        async def authorized(request: web.Request) -> web.Response:
            authorization = request.headers.get("Authorization")
            named = {*request.match_info.values(), *request.query.values()}
            if self.faults and any(self.faults.strikes(operation, {"expire"}, subjects=named)):
                self.authorization.revoke(authorization)
            if self.authorization.admits(authorization):
                return await effect(request)
            self.journal.record("refused", operation=operation)
            return self.refusal(request)

        return self.guarded(operation, authorized)

    @abstractmethod
    def refusal(self, request: web.Request) -> web.Response:
        """Return its answer, 401, to a call without a good token."""
