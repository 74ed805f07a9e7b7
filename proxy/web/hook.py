"""The hook API: taking approval requests in, and saying where they stand."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from aiohttp import web

from proxy.domain.models import StoredRequest
from proxy.errors import InvalidRequestError, NotFoundError
from proxy.net.urls import CallbackPrefix, allowed
from proxy.observability import logs
from proxy.store.requests import Admitted
from proxy.web.auth import Caller, Clients
from proxy.web.backpressure import Backlog
from proxy.web.http.body import read_body
from proxy.web.http.limits import Flow, Limits
from proxy.web.http.middleware import CLIENT, DENIED
from proxy.web.http.responses import json_answer
from proxy.web.operator_api.views import status_view
from proxy.witboost.hook_call import HookCall, read_hook_call

OUTSIDE: Final = (
    "respondToUrl lies under none of the callback URLs that the settings allow for the witboost"
    " instance of this client"
)
_MESSAGE: Final = "The request is stored; a ticket follows, and its decision goes to respondToUrl."


class Loads(Protocol):
    """The part of the store that is read here."""

    async def load(self, correlation_id: str) -> StoredRequest | None:
        """Read one request."""
        ...


class Hook:
    """Answers witboost: the contract's 202, 400, 401 and 500, and nothing else."""

    def __init__(
        self,
        *,
        flow: Flow,
        store: Loads,
        backlog: Backlog,
        room: AbstractAsyncContextManager[None],
        clients: Clients,
        operators: Clients,
        instances: Mapping[str, Sequence[CallbackPrefix]],
        public_url: str,
        limits: Limits,
    ) -> None:
        self._flow = flow
        self._store = store
        self._backlog = backlog
        self._room = room
        self._clients = clients
        self._operators = operators
        self._instances = instances
        # never from the Host header, which the caller chooses
        self._status_url = public_url.rstrip("/") + "/approval-requests/"
        self._limits = limits

    async def submit(self, request: web.Request) -> web.Response:
        """Take an approval request in: who, then what, then store it, then answer."""
        callers = self._clients.identify(request.headers)  # before the body: strangers cost little
        request[CLIENT] = callers[0].name  # for the log, should it be refused
        limits = self._limits
        body = await read_body(request, limit=limits.body, within=limits.body_deadline)
        call = read_hook_call(body, request.headers, max_depth=limits.depth)
        request[CLIENT] = callers[0].name
        caller = self._responsible(callers, call, request)
        request[CLIENT] = caller.name
        await self._backlog.admit()
        async with self._room:
            admitted = await self._flow.admit(call, instance=caller.instance, client=caller.name)
        logs.correlation_id.set(admitted.id)
        return self._taken(admitted)

    def _responsible(
        self, callers: Sequence[Caller], call: HookCall, request: web.Request
    ) -> Caller:
        """Return the caller whose instance may be called back at this URL."""
        for caller in callers:
            if allowed(call.respond_to, self._instances[caller.instance]):
                return caller
        request[DENIED] = True
        raise InvalidRequestError(OUTSIDE)

    def _taken(self, admitted: Admitted) -> web.Response:
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
        taken = {
            "status": "accepted",
            "message": _MESSAGE,
            "correlationId": admitted.id,
            "statusUrl": self._status_url + admitted.id,
        }
        return json_answer({"hookInfo": taken}, 202)

    async def show(self, request: web.Request) -> web.Response:
        """Say where a request stands, to the client that sent it or to an operator."""
        operators = self._operators.known(request.headers)
        callers = operators or self._clients.identify(request.headers)
        request[CLIENT] = callers[0].name
        correlation_id = request.match_info["correlationId"]
        entry = await self._store.load(correlation_id)
        if entry is None or not (operators or _sender(entry) in callers):
            request[DENIED] = entry is not None
            raise NotFoundError("correlationId names no request of this client")
        logs.correlation_id.set(correlation_id)
        return json_answer(status_view(entry))


def _sender(entry: StoredRequest) -> Caller:
    return Caller(entry.record.client, entry.record.instance)
