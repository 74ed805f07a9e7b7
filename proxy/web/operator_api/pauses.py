"""Pauses that operators want: a ticket system or a witboost instance in maintenance."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from proxy.errors import InvalidRequestError, NotFoundError
from proxy.store.pauses import Cause, PauseStore
from proxy.web.auth import Clients
from proxy.web.http.body import json_object, read_body
from proxy.web.http.limits import Limits
from proxy.web.http.middleware import CLIENT
from proxy.web.http.responses import private_answer
from proxy.web.operator_api.requests import read_text
from proxy.web.operator_api.views import pause_view

_LONGEST_BODY: Final = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Pausing:
    """Pauses and resumes what we call; `destinations` are their names in the settings."""

    pause_store: PauseStore
    operators: Clients
    destinations: Collection[str]
    limits: Limits

    async def pause(self, request: web.Request) -> web.Response:
        """Stop using a destination until an operator resumes it: requests wait, none is lost."""
        name, by, reason = await self._asked(request)
        await self.pause_store.pause(name, reason, probe_after=0, cause=Cause.MAINTENANCE, by=by)
        return await self._shown(name)

    async def resume(self, request: web.Request) -> web.Response:
        """Use a destination again, whatever paused it."""
        name, by, reason = await self._asked(request)
        if not await self.pause_store.resume(name, by=by, reason=reason):
            raise InvalidRequestError(f"destination: {name} is not paused")
        return await self._shown(name)

    async def _asked(self, request: web.Request) -> tuple[str, str, str]:
        by = request[CLIENT] = self.operators.permitted(request.headers, "admin").name
        body = await read_body(request, limit=_LONGEST_BODY, within=self.limits.body_deadline)
        asked: Mapping[str, Any] = json_object(request, body)
        reason, name = read_text(asked, "reason"), request.match_info["destination"]
        if name not in self.destinations:
            known = ", ".join(sorted(self.destinations))
            raise NotFoundError(f"destination: there is no {name[:64]!r}; there are {known}")
        return name, by, reason

    async def _shown(self, name: str) -> web.Response:
        pauses = await self.pause_store.pauses()
        paused = [pause_view(each, it) for each, it in pauses.items() if it.since]
        return private_answer({"destination": name, "paused": paused})
