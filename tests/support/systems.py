"""Systems to call: real servers that answer as each test says and keep what they were sent."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDictProxy

from proxy.outbound.client import Outbound
from proxy.outbound.credentials import Credential, NoCredential
from proxy.outbound.destination import Destination

Responder = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Received:
    """One call as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class System:
    """One server; `respond` may be changed at any time."""

    respond: Responder
    origin: str = ""
    calls: list[Received] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Keep the call and answer it."""
        body = await request.read()
        headers: CIMultiDictProxy[str] = request.headers
        self.calls.append(Received(request.method, request.path_qs, headers, body))
        return await self.respond(request)


async def fine(_request: web.Request) -> web.StreamResponse:
    """Answer 200."""
    return web.json_response({"fine": True})


async def drop(request: web.Request) -> web.StreamResponse:
    """Cut the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def always(status: int, **kwargs: Any) -> Responder:
    """Answer the same again and again."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, **kwargs)

    return respond


def in_turn(*responders: Responder) -> Responder:
    """Answer each call with the next, and fail the test where there is none."""
    remaining = iter(responders)

    async def respond(request: web.Request) -> web.StreamResponse:
        return await next(remaining)(request)

    return respond


@asynccontextmanager
async def serving(respond: Responder = fine) -> AsyncIterator[System]:
    """Run a system on a free port of this machine."""
    system = System(respond)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", system.serve)
    server = TestServer(app)
    await server.start_server()
    system.origin = str(server.make_url("")).rstrip("/")
    try:
        yield system
    finally:
        await server.close()


def towards(
    outbound: Outbound,
    *origins: str,
    deadline: int = 10_000,
    concurrency: int = 8,
    credential: Credential | None = None,
    renew_on: frozenset[int] = frozenset({401}),
    answer_limit: int = 65_536,
) -> Destination:
    """Return a destination named desk with what a test does not care about filled in."""
    return outbound.destination(
        "desk",
        origins=origins,
        deadline=deadline,
        concurrency=concurrency,
        credential=credential or NoCredential(),
        renew_on=renew_on,
        answer_limit=answer_limit,
    )
