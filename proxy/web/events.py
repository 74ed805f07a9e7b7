"""Ticket events: verified, deduplicated, and then only a hint to read a ticket."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from proxy.domain.models import TicketHint
from proxy.errors import InvalidRequestError, UnauthorizedError
from proxy.store.changes import EventDedup
from proxy.tickets.port import AnswersChallenges, PushesEvents
from proxy.web.context import WebContext
from proxy.web.http.body import read_body
from proxy.web.http.responses import json_response

_REFUSED: Final = "The event does not prove where it comes from."


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Answers ticket systems."""

    context: WebContext
    dedup: EventDedup
    concurrency_limit: AbstractAsyncContextManager[None]
    """Bounds the verified events that are processed at once, as it does hook calls."""

    async def receive(self, request: web.Request) -> web.Response:
        """Receive an event: 202 once it is verified, whether or not its ticket is known."""
        name = request.match_info["system"]
        body = await self._body(request, name)
        system = self._system(name)
        try:
            hint = await self._verified_hint(request, name, system, body)
        except (UnauthorizedError, InvalidRequestError) as error:
            if response := self._challenge_answer(request, name, system, body):
                return response
            if isinstance(error, InvalidRequestError):
                self._count(name, "unusable")
                raise
            self._count(name, "refused")
            raise UnauthorizedError(_REFUSED) from error
        async with self.concurrency_limit:
            self._count(name, await self._process(name, hint))
        return json_response({}, HTTPStatus.ACCEPTED)

    async def register(self, request: web.Request) -> web.Response:
        """Answer a system that checks that this address is ours before it sends events."""
        name = request.match_info["system"]
        if response := self._challenge_answer(request, name, self._system(name), b""):
            return response
        self._count(name, "refused")
        raise UnauthorizedError(_REFUSED)

    def _system(self, name: str) -> PushesEvents:
        system = self.context.event_systems.get(name)
        if system is None:
            raise UnauthorizedError(_REFUSED)  # as any event without proof: names stay secret
        return system

    async def _body(self, request: web.Request, name: str) -> bytes:
        limits = self.context.limits
        try:
            return await read_body(request, limit=limits.event, timeout=limits.body_deadline)
        except InvalidRequestError:
            if name in self.context.event_systems:  # no other name may become a metric's label
                self._count(name, "unusable")
            raise

    def _challenge_answer(
        self, request: web.Request, name: str, system: PushesEvents, body: bytes
    ) -> web.Response | None:
        """Return the answer to a challenge; None if the call is not a challenge."""
        if not isinstance(system, AnswersChallenges):
            return None
        answer = system.answer_challenge(request.method, request.query, body)
        if answer is None:
            return None
        self._count(name, "challenge")
        if isinstance(answer, str):
            # it echoes the caller's text, which no browser may interpret as anything else
            headers = {"X-Content-Type-Options": "nosniff"}
            return web.Response(text=answer, content_type="text/plain", headers=headers)
        return json_response(answer)

    async def _verified_hint(
        self, request: web.Request, name: str, system: PushesEvents, body: bytes
    ) -> TicketHint:
        context = self.context
        if name in context.client_cert_systems and not context.trusted_proxies.is_proxy(request):
            raise UnauthorizedError("the event did not come through a trusted proxy")
        if keys := context.event_keys.get(name):
            await keys.ready(request.headers)
        return system.read_event(request.headers, body, now=context.clock.now())

    async def _process(self, name: str, hint: TicketHint) -> str:
        """Make the tickets of a new event due; return the metric's label for the result."""
        if not await self._is_new(name, hint):
            return "repeated"
        await self.context.flow.hint(name, hint)
        return "taken"

    async def _is_new(self, name: str, hint: TicketHint) -> bool:
        """Mark an event as seen; False if it was seen before.

        It is marked before it takes effect: should that fail, polling still finds the decision.
        The first key that was seen leaves the others unmarked, so that a repeat under another name
        cannot make somebody else's event look like one.
        """
        for key in hint.replay_keys:
            if not await self.dedup.mark_seen(name, key, keep=self.context.event_memory):
                return False
        return True

    def _count(self, system: str, result: str) -> None:
        self.context.metrics.events.labels(system, result).inc()
