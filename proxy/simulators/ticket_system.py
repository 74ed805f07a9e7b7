"""The base of the simulated ticket systems: OAuth2 before the API, events, faults of reads."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any, Final, Required, Unpack

from aiohttp import web
from typing_extensions import override

from proxy.simulators import events
from proxy.simulators.authorization import AuthorizationServer
from proxy.simulators.faults import HTTP, Kind
from proxy.simulators.server import Handler, ServerOptions, Simulator

API: Final[frozenset[Kind]] = HTTP | {"expire"}
FAULTS: Final[Mapping[str, frozenset[Kind]]] = {
    "token": HTTP,
    "create": API,
    "find": API | {"lag"},
    "read": API | {"stale"},
    "event": events.FAULTS,
}
"""The faults that every ticket system can have, by operation."""


class TicketSystemOptions(ServerOptions, total=False):
    """The OAuth2 client of a simulated ticket system, and the target of its events.

    `expires_in` is the lifetime of access tokens in seconds.
    """

    client_id: Required[str]
    client_secret: Required[str]
    event_secret: Required[str]
    events_to: str | None
    expires_in: int | None


class TicketSimulator(Simulator):
    """A ticket system behind OAuth2 that pushes events; `write` makes their headers and body."""

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
        write: events.PayloadWriter = events.desk_payload,
        **serving: Unpack[ServerOptions],
    ) -> None:
        super().__init__(kinds=kinds, **serving)
        self.authorization = AuthorizationServer(
            client=(client_id, client_secret),
            journal=self.journal,
            clock=self.clock,
            expires_in=expires_in,
            scopes=scopes,
        )
        self.events = events.Events(self, target=events_to, secret=event_secret, write=write)
        self._created: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._after_page: list[Callable[[], object]] = []

    async def created(self, *, within: float = 5.0) -> dict[str, Any]:
        """Return the next ticket created, as it was at its creation.

        Raises TimeoutError after `within` seconds.
        """
        return await asyncio.wait_for(self._created.get(), within)

    async def events_sent(self) -> None:
        """Wait until no event is being delivered."""
        await self.events.sent()

    def after_page(self, action: Callable[[], object]) -> None:
        """Run an action once, right after the next page of a list was read."""
        self._after_page.append(action)

    def run_after_page(self) -> None:
        """Run the action that waits for a page, if there is one."""
        if self._after_page:
            self._after_page.pop(0)()

    def index_time(self, *subjects: str) -> float:
        """Return the time up to which the search index is complete; infinity without a lag."""
        times = [inf]
        for active in self.faults.trigger("find", {"lag"}, subjects=subjects):
            age = active.fault.seconds
            times.append(active.since if age is None else self.clock.now() - int(age * 1000))
        return min(times)

    def is_stale(self, operation: str, *subjects: str) -> bool:
        """Return True if a fault makes this read return the ticket before its last change."""
        return any(self.faults.trigger(operation, {"stale"}, subjects=subjects))

    @override
    async def down(self) -> None:
        await self.events.close()
        await super().down()

    def api(self, operation: str, effect: Handler) -> Handler:
        """Return a handler that demands a valid access token and applies the faults."""

        async def authorized(request: web.Request) -> web.Response:
            authorization = request.headers.get("Authorization")
            subjects = {*request.match_info.values(), *request.query.values()}
            if any(self.faults.trigger(operation, {"expire"}, subjects=subjects)):
                self.authorization.revoke(authorization)
            if self.authorization.admits(authorization):
                return await effect(request)
            self.journal.record("refused", operation=operation)
            return self.refusal(request)

        return self.guarded(operation, authorized)

    @abstractmethod
    def refusal(self, request: web.Request) -> web.Response:
        """Return the 401 answer to a call without a valid access token."""
