"""The hook API: it accepts approval requests, and shows a client the status of its own."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from proxy.domain.models import StoredRequest
from proxy.errors import InvalidRequestError, NotFoundError
from proxy.net.urls import allowed
from proxy.observability import logs
from proxy.store.requests import Admitted
from proxy.web.auth import Caller
from proxy.web.backpressure import Backlog
from proxy.web.context import WebContext
from proxy.web.http.body import read_body
from proxy.web.http.middleware import CLIENT, DENIED
from proxy.web.http.responses import JSON, json_response
from proxy.web.operator_api.views import status_view
from proxy.witboost.hook_call import HookCall, read_hook_call

OUTSIDE: Final = (
    "respondToUrl lies under none of the callback URLs that the settings allow for the witboost"
    " instance of this client"
)
_MESSAGE: Final = "The request is stored; a ticket follows, and its decision goes to respondToUrl."
_ACCEPTED: Final = int(HTTPStatus.ACCEPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Answers witboost: the contract's 202, 400, 401 and 500, and nothing else."""

    context: WebContext
    backlog: Backlog
    concurrency_limit: AbstractAsyncContextManager[None]

    async def submit(self, request: web.Request) -> web.Response:
        """Accept an approval request: answer 202 once it is stored, before any ticket exists."""
        context, limits = self.context, self.context.limits
        # before the body is read: a caller without a key costs little
        callers = context.clients.identify(request.headers)
        request[CLIENT] = callers[0].name  # for the log, should the call be refused
        body = await read_body(request, limit=limits.body, timeout=limits.body_deadline)
        call = read_hook_call(body, request.headers, max_depth=limits.depth)
        caller = self._responsible_caller(callers, call, request)
        request[CLIENT] = caller.name
        await self.backlog.admit()
        async with self.concurrency_limit:
            admitted = await context.flow.admit(call, instance=caller.instance, client=caller.name)
        logs.correlation_id.set(admitted.id)
        return self._answer(admitted)

    def _responsible_caller(
        self, callers: Sequence[Caller], call: HookCall, request: web.Request
    ) -> Caller:
        """Return the caller whose instance may be called back at this URL."""
        for caller in callers:
            if allowed(call.respond_to, self.context.callback_prefixes[caller.instance]):
                return caller
        request[DENIED] = True
        raise InvalidRequestError(OUTSIDE)

    def _answer(self, admitted: Admitted) -> web.Response:
        if admitted.verdict == "open":
            raise InvalidRequestError(
                "respondToUrl is that of an earlier request with other content, which is still"
                f" open: {admitted.id}"
            )
        if admitted.verdict == "used":
            raise InvalidRequestError(
                "respondToUrl is that of an earlier request with other content, and the settings"
                f" allow no second use: {admitted.id}"
            )
        # never from the Host header, which the caller chooses
        public_url = self.context.public_url.rstrip("/")
        hook_info = {
            "status": "accepted",
            "message": _MESSAGE,
            "correlationId": admitted.id,
            "statusUrl": f"{public_url}/approval-requests/{admitted.id}",
        }
        return json_response({"hookInfo": hook_info}, _ACCEPTED)

    async def show(self, request: web.Request) -> web.Response:
        """Show the status of a request to the client that sent it, or to an operator."""
        operators = self.context.operators.callers(request.headers)
        callers = operators or self.context.clients.identify(request.headers)
        request[CLIENT] = callers[0].name
        correlation_id = request.match_info["correlationId"]
        entry = await self.context.store.load(correlation_id)
        if entry is None or not (operators or _sender(entry) in callers):
            request[DENIED] = entry is not None
            raise NotFoundError("correlationId names no request of this client")
        logs.correlation_id.set(correlation_id)
        return web.Response(body=status_view(entry).json_bytes(), headers=JSON)


def _sender(entry: StoredRequest) -> Caller:
    return Caller(entry.record.client, entry.record.instance)
