"""Plays the program under test towards the simulators: what it sends, and a server that listens."""

import asyncio
from typing import Any, Self

import aiohttp
from aiohttp import web

CLIENT = ("demo client", "s:cret&%41+")
EVENT_SECRET = "event-secret"


class TestClock:
    """A clock that stands still until a test moves it."""

    __test__ = False

    def __init__(self) -> None:
        self.milliseconds = 1_800_000_000_000

    def now(self) -> int:
        return self.milliseconds

    def monotonic(self) -> int:
        return self.milliseconds


class Program:
    """Calls the desk's API with a token it fetched."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http
        self.token = ""

    async def fetch_token(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": CLIENT[0],
            "client_secret": CLIENT[1],
        }
        async with self.http.post(f"{self.url}/oauth/token", data=form) as answer:
            assert answer.status == 200
            self.token = (await answer.json())["access_token"]

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        within: float = 5.0,
    ) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        limit = aiohttp.ClientTimeout(total=within)
        async with self.http.request(
            method, f"{self.url}{path}", json=body, headers=sent, timeout=limit
        ) as answer:
            content = await answer.read()
            return answer.status, await answer.json() if content else None

    async def create(self, correlation_id: str = "c-1", **more: Any) -> tuple[int, Any]:
        fields = {"title": "Access", "description": "please", "correlation_id": correlation_id}
        return await self.call("POST", "/api/tickets", fields | more)

    async def find(self, correlation_id: str = "c-1") -> list[str]:
        path = f"/api/tickets?correlation_id={correlation_id}"
        status, body = await self.call("GET", path)
        assert status == 200
        return [ticket["id"] for ticket in body["tickets"]]

    async def read(self, ticket: str = "1001") -> tuple[int, Any]:
        return await self.call("GET", f"/api/tickets/{ticket}")


class Listener:
    """The proxy's side: takes hook calls and events, and puts each into a queue."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.status = 202
        self.hook_info: dict[str, Any] = {"status": "accepted"}

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/", self._take)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def next(self) -> tuple[dict[str, str], bytes]:
        return await asyncio.wait_for(self.received.get(), 5)

    async def _take(self, request: web.Request) -> web.Response:
        self.received.put_nowait((dict(request.headers), await request.read()))
        return web.json_response({"hookInfo": self.hook_info}, status=self.status)
