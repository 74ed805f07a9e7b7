"""Ticket events: verified, remembered, and then only a hint to look at a ticket."""

from collections.abc import Mapping
from typing import Final, Protocol

from aiohttp import web

from proxy.domain.clock import Clock
from proxy.domain.models import TicketHint
from proxy.errors import InvalidRequest, Unauthorized
from proxy.metrics import Metrics
from proxy.tickets.port import PushesEvents
from proxy.web.answers import json_answer
from proxy.web.body import read_body
from proxy.web.ports import Flow, Limits

_REFUSED: Final = "The event does not prove where it comes from."


class Remembers(Protocol):
    """The part of the shared facts that knows events again."""

    async def first_sight(self, system: str, replay_key: str, *, keep: int) -> bool:
        """Whether an event was not seen within the last `keep` milliseconds."""
        ...


class Events:
    """Answers ticket systems; `memory` is how many milliseconds a repeat is known as one."""

    def __init__(
        self,
        *,
        flow: Flow,
        shared: Remembers,
        systems: Mapping[str, PushesEvents],
        metrics: Metrics,
        clock: Clock,
        limits: Limits,
        memory: int,
    ) -> None:
        self._flow = flow
        self._shared = shared
        self._systems = systems
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._memory = memory

    async def take(self, request: web.Request) -> web.Response:
        """Take an event: 202 once it is verified, whatever we know of its ticket."""
        name = request.match_info["system"]
        system = self._systems.get(name)
        if system is None:
            raise Unauthorized(_REFUSED)  # as any event without proof: nobody learns the names
        hint = await self._verified(request, name, system)
        # remembered before it has its effect: should that fail, polling finds the decision
        if await self._shared.first_sight(name, hint.replay_key, keep=self._memory):
            await self._flow.hint(name, hint)
            self._count(name, "taken")
        else:
            self._count(name, "repeated")
        return json_answer({}, 202)

    async def _verified(self, request: web.Request, name: str, system: PushesEvents) -> TicketHint:
        limits = self._limits
        try:
            body = await read_body(request, limit=limits.event, within=limits.body_deadline)
            return system.read_event(request.headers, body, now=self._clock.now())
        except Unauthorized as error:
            self._count(name, "refused")
            raise Unauthorized(_REFUSED) from error
        except InvalidRequest:
            self._count(name, "unusable")
            raise

    def _count(self, system: str, result: str) -> None:
        self._metrics.events.labels(system, result).inc()
