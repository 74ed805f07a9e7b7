"""Ticket events: verified, remembered, and then only a hint to look at a ticket."""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from aiohttp import web

from proxy.domain.clock import Clock
from proxy.domain.models import TicketHint
from proxy.errors import InvalidRequestError, UnauthorizedError
from proxy.observability.metrics import Metrics
from proxy.store.changes import EventDedup
from proxy.tickets.port import AnswersChallenges, PushesEvents
from proxy.web.http.body import read_body
from proxy.web.http.limits import Flow, Limits
from proxy.web.http.responses import json_answer
from proxy.web.http.trusted_proxies import TrustedProxies

_REFUSED: Final = "The event does not prove where it comes from."


class Fetches(Protocol):
    """What has the keys that one system's events are signed with."""

    async def ready(self, headers: Mapping[str, str]) -> None:
        """Fetch what an event needs, if it is not here."""
        ...


class Events:
    """Answers ticket systems; `memory` is how many milliseconds a repeat is known as one.

    `room` bounds how many proven events are looked into at once, as it does hook calls.
    `keys` are those of systems whose keys must be fetched; `certified` names systems whose proof is
    a header that only a proxy before us can have written.
    """

    def __init__(
        self,
        *,
        flow: Flow,
        room: AbstractAsyncContextManager[None],
        dedup: EventDedup,
        systems: Mapping[str, PushesEvents],
        metrics: Metrics,
        clock: Clock,
        limits: Limits,
        memory: int,
        keys: Mapping[str, Fetches],
        certified: Collection[str],
        peers: TrustedProxies,
    ) -> None:
        self._flow = flow
        self._room = room
        self._dedup = dedup
        self._systems = systems
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._memory = memory
        self._keys = keys
        self._certified = certified
        self._peers = peers

    async def receive(self, request: web.Request) -> web.Response:
        """Take an event: 202 once it is verified, whatever we know of its ticket."""
        name = request.match_info["system"]
        body = await self._body(request, name)
        system = self._system(name)
        try:
            hint = await self._proven(request, name, system, body)
        except (UnauthorizedError, InvalidRequestError) as error:
            if said := self._answered(request, name, system, body):
                return said
            if isinstance(error, InvalidRequestError):
                self._count(name, "unusable")
                raise
            self._count(name, "refused")
            raise UnauthorizedError(_REFUSED) from error
        async with self._room:
            self._count(name, await self._mind(name, hint))
        return json_answer({}, 202)

    async def register(self, request: web.Request) -> web.Response:
        """Answer a system that asks whether this address is ours, before it sends events."""
        name = request.match_info["system"]
        if said := self._answered(request, name, self._system(name), b""):
            return said
        self._count(name, "refused")
        raise UnauthorizedError(_REFUSED)

    def _system(self, name: str) -> PushesEvents:
        system = self._systems.get(name)
        if system is None:
            raise UnauthorizedError(_REFUSED)  # as any event without proof: nobody learns the names
        return system

    async def _body(self, request: web.Request, name: str) -> bytes:
        limits = self._limits
        try:
            return await read_body(request, limit=limits.event, within=limits.body_deadline)
        except InvalidRequestError:
            if name in self._systems:  # whatever else is called is no label of a metric
                self._count(name, "unusable")
            raise

    def _answered(
        self, request: web.Request, name: str, system: PushesEvents, body: bytes
    ) -> web.Response | None:
        """Return the answer to a challenge; None where it is none."""
        if not isinstance(system, AnswersChallenges):
            return None
        said = system.answer_challenge(request.method, request.query, body)
        if said is None:
            return None
        self._count(name, "challenge")
        if isinstance(said, str):
            # what came in goes out: as text, and as nothing else
            headers = {"X-Content-Type-Options": "nosniff"}
            return web.Response(text=said, content_type="text/plain", headers=headers)
        return json_answer(said)

    async def _proven(
        self, request: web.Request, name: str, system: PushesEvents, body: bytes
    ) -> TicketHint:
        if name in self._certified and not self._peers.is_proxy(request):
            raise UnauthorizedError("the event did not come through a trusted proxy")
        if keys := self._keys.get(name):
            await keys.ready(request.headers)
        return system.read_event(request.headers, body, now=self._clock.now())

    async def _mind(self, name: str, hint: TicketHint) -> str:
        """Have the tickets of a new event read; return what it was."""
        if not await self._is_new(name, hint):
            return "repeated"
        await self._flow.hint(name, hint)
        return "taken"

    async def _is_new(self, name: str, hint: TicketHint) -> bool:
        """Remember an event before it has its effect: should that fail, polling finds the decision.

        What is known by one key leaves the others alone, so that a repeat under another name
        cannot make somebody else's event look like one.
        """
        for key in hint.replay_keys:
            if not await self._dedup.mark_seen(name, key, keep=self._memory):
                return False
        return True

    def _count(self, system: str, result: str) -> None:
        self._metrics.events.labels(system, result).inc()
