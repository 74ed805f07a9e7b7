"""The `rest` adapter before a server that answers as each test says."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.tickets.kinds import open_system
from proxy.tickets.rest.system import RestTicketSystem
from tests.support.declarations import declaration
from tests.support.systems import System, serving

Responder = Callable[[web.Request], Any]
"""Returns what becomes JSON, or a whole response."""


@asynccontextmanager
async def open_rest_adapter(
    answering: Responder, **changes: Any
) -> AsyncIterator[tuple[RestTicketSystem, System]]:
    """Open the adapter with some parts of its declaration replaced, before this server."""

    async def respond(request: web.Request) -> web.StreamResponse:
        answer = answering(request)
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async with serving(respond) as server, Outbound(loopback=True) as outbound:
        http = outbound.destination(
            "desk",
            origins=[server.origin],
            deadline=5_000,
            concurrency=4,
            credential=NoCredential(),
        )
        limits: dict[str, Any] = {"limits": {}} if "create" in changes else {}
        declared = declaration(**({"base_url": f"{server.origin}/v2"} | limits | changes))
        system = open_system(
            name="desk",
            declaration=declared.model_dump(mode="json"),
            http=http,
            event_secrets=lambda: [b"s"],
        )
        assert isinstance(system, RestTicketSystem)
        yield system, server


def ticket(ref: str = "7", **changes: Any) -> Mapping[str, Any]:
    """Return a ticket as the desk shows it."""
    shown = {"id": ref, "key": f"DESK-{ref}", "url": f"/t/{ref}", "status": "new"}
    return {**shown, "correlation_id": "r-1", **changes}
