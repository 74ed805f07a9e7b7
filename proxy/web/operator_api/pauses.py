"""Maintenance pauses: operators pause and resume ticket systems and witboost instances."""

from dataclasses import dataclass

from aiohttp import web

from proxy.errors import InvalidRequestError, NotFoundError
from proxy.store.pauses import Cause
from proxy.web.context import WebContext
from proxy.web.http.responses import private_response
from proxy.web.operator_api.bodies import ReasonBody
from proxy.web.operator_api.models import PauseList
from proxy.web.operator_api.parsing import authorize_action
from proxy.web.operator_api.views import paused_view


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseApi:
    """Pauses and resumes destinations."""

    context: WebContext

    async def pause(self, request: web.Request) -> web.Response:
        """Stop calling a destination until an operator resumes it; its requests wait."""
        name, by, reason = await self._parse(request)
        pauses = self.context.pause_store
        await pauses.pause(name, reason, probe_after=0, cause=Cause.MAINTENANCE, by=by)
        return await self._list(name)

    async def resume(self, request: web.Request) -> web.Response:
        """Call a destination again, whatever the cause of its pause."""
        name, by, reason = await self._parse(request)
        if not await self.context.pause_store.resume(name, by=by, reason=reason):
            raise InvalidRequestError(f"destination: {name} is not paused")
        return await self._list(name)

    async def _parse(self, request: web.Request) -> tuple[str, str, str]:
        """Return the destination, the operator and the reason."""
        by, body = await authorize_action(self.context, request, "admin", ReasonBody)
        name = request.match_info["destination"]
        if name not in self.context.destinations:
            destinations = ", ".join(sorted(self.context.destinations))
            raise NotFoundError(f"destination: {name[:64]!r} is not one of {destinations}")
        return name, by, body.reason

    async def _list(self, name: str) -> web.Response:
        paused = paused_view(await self.context.pause_store.pauses())
        return private_response(PauseList(destination=name, paused=paused).json_bytes())
