"""The base of all simulators: a real HTTP server on loopback, with its faults and journal."""

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import aiohttp
import orjson
from aiohttp import web

from proxy.domain.clock import Clock, SystemClock
from proxy.simulators.faults import ENDINGS, HTTP, PARSER, ActiveFault, Fault, Faults, Kind
from proxy.simulators.journal import Journal

Handler = Callable[[web.Request], Awaitable[web.Response]]
GRACE_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 60.0


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON response; an empty one without a body."""
    if body is None:
        return web.Response(status=status, headers=headers)
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        headers=headers,
        content_type="application/json",
    )


async def json_object(request: web.Request) -> dict[str, Any] | None:
    """Return the JSON object of a request; None for any other body or content type."""
    if request.content_type != "application/json":
        return None
    return parse_object(await request.read())


def parse_object(content: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None for anything else."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def reset(request: web.Request) -> web.Response:
    """Reset the connection (RST, not FIN), so that no client takes it for an orderly end."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


class ServerOptions(TypedDict, total=False):
    """The address, public URL, journal file and clock of a simulator.

    Port 0 is any free port; `seed` is used by faults with a probability.
    """

    host: str
    port: int
    public_url: str | None
    journal_file: Path | None
    clock: Clock
    seed: int


class Simulator(ABC):
    """A server that tests can await: `async with` starts it, leaving the block ends it.

    State lives in the object, not in the server, so it survives an outage.
    """

    control = ""
    """The path prefix of the control API, which needs no credential: journal, faults, outages."""

    def __init__(
        self,
        *,
        kinds: Mapping[str, Collection[Kind]],
        **serving: Unpack[ServerOptions],
    ) -> None:
        self.clock = serving.get("clock") or SystemClock()
        self.journal = Journal(serving.get("journal_file"), clock=self.clock)
        self.faults = Faults(kinds, seed=serving.get("seed", 0))
        self._host = serving.get("host", "127.0.0.1")
        self._port = serving.get("port", 0)
        self._public_url = serving.get("public_url")
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None
        self._outages: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The public URL, without a slash at the end."""
        return self._public_url or f"http://{self._host}:{self._port}"

    @property
    def client(self) -> aiohttp.ClientSession:
        """The HTTP client for the calls that the simulator makes."""
        if self._client is None:
            raise RuntimeError(f"{type(self).__name__} is used outside of its async with block")
        return self._client

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        try:
            await self.up()
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        for outage in self._outages:
            outage.cancel()
        await asyncio.gather(*self._outages, return_exceptions=True)
        await self.down()
        await self.client.close()
        self.journal.close()

    async def up(self) -> None:
        """Start to listen; after an outage, on the same port."""
        application = web.Application()
        application.add_routes(self._control_routes())
        application.add_routes(self.routes())
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=GRACE_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError:
            await self.down()
            raise
        self._port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Drop all connections, and refuse new ones until `up`."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @abstractmethod
    def routes(self) -> Iterable[web.RouteDef]:
        """Return the simulated API."""

    def switch_on(self, fault: Fault) -> ActiveFault:
        """Switch a fault on; raises ValueError if it could never apply."""
        return self.faults.switch_on(fault, now=self.clock.now())

    def guarded(self, operation: str, effect: Handler) -> Handler:
        """Return a handler that applies the faults before and after an operation."""

        async def guard(request: web.Request) -> web.Response:
            if self.faults:
                spoilt = await self._apply_faults(operation, request, after_effect=False)
                if spoilt is not None:
                    return spoilt
            response = await effect(request)
            if self.faults and response.status < web.HTTPBadRequest.status_code:
                spoilt = await self._apply_faults(operation, request, after_effect=True)
                if spoilt is not None:
                    return spoilt
            return response

        return guard

    async def _apply_faults(
        self, operation: str, request: web.Request, *, after_effect: bool
    ) -> web.Response | None:
        subjects = {*request.match_info.values(), *request.query.values()}
        body = await json_object(request)
        if body is not None and isinstance(correlation_id := body.get("correlation_id"), str):
            subjects.add(correlation_id)
        for active in self.faults.trigger(
            operation, HTTP, subjects=subjects, after_effect=after_effect
        ):
            fault = active.fault
            self.journal.record(
                "fault",
                operation=operation,
                fault=fault.kind,
                after_effect=after_effect,
                **request.match_info,
            )
            if fault.kind not in ENDINGS:
                await active.hold()
            elif fault.kind == "reset":
                return reset(request)
            else:
                pause = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                pause |= fault.headers or {}
                body_of_fault = fault.body or {"error": {"message": f"fault of {operation}"}}
                return answer(fault.status, body_of_fault, pause)
        return None

    def _control_routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get(f"{self.control}/journal", self._show_journal),
            web.post(f"{self.control}/faults", self._switch_on),
            web.delete(f"{self.control}/faults", self._switch_off),
            web.post(f"{self.control}/outage", self._start_outage),
        )

    async def _show_journal(self, request: web.Request) -> web.Response:
        try:
            after = int(request.query.get("after", "0"))
            wait = min(float(request.query.get("wait", "0")), LONGEST_WAIT_SECONDS)
        except ValueError:
            return answer(400, {"error": {"message": "after and wait must be numbers"}})
        return answer(200, {"entries": await self.journal.since(max(after, 0), wait=wait)})

    async def _switch_on(self, request: web.Request) -> web.Response:
        try:
            self.switch_on(PARSER.validate_json(await request.read()))
        except ValueError as error:
            return answer(400, {"error": {"message": str(error)}})
        return answer(204)

    async def _switch_off(self, request: web.Request) -> web.Response:
        self.faults.switch_off(request.query.get("operation"))
        return answer(204)

    async def _start_outage(self, request: web.Request) -> web.Response:
        body = await json_object(request)
        seconds = (body or {}).get("seconds")
        if not isinstance(seconds, int | float) or seconds < 0:
            return answer(400, {"error": {"message": "seconds must be a number, 0 or more"}})
        outage = asyncio.create_task(self._outage(seconds))
        self._outages.add(outage)
        outage.add_done_callback(self._outages.discard)
        return answer(202)

    async def _outage(self, seconds: float) -> None:
        self.journal.record("down", seconds=seconds)
        await self.down()
        await asyncio.sleep(seconds)
        await self.up()
        self.journal.record("up")
