"""Where the browser comes back to after a login: a listener on this machine (RFC 8252 7.3)."""

import asyncio
import html
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from proxy.errors import ConfigurationError, ProxyError, TemporaryError, UnauthorizedError

Finish = Callable[[str], Awaitable[str]]
"""Is given the query of a redirect; returns what to tell the person, or raises a ProxyError."""

_HOST: Final = "127.0.0.1"
_PATH: Final = "/callback"
_HEADERS: Final = {
    # the address of this page holds the code, which is worth nothing any more, and yet
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>approval-proxy: {title}</title>
<style>body {{ font: 1.1em/1.5 sans-serif; max-width: 36em; margin: 4em auto }}</style>
</head>
<body><h1>{title}</h1><p>{said}</p><p>You may close this window.</p></body>
</html>
"""


class Loopback:
    """The listener; `redirect_uri` leads to it."""

    def __init__(self, redirect_uri: str) -> None:
        self.redirect_uri = redirect_uri
        self._finish: Finish | None = None
        self._one_at_a_time = asyncio.Lock()
        self._outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def outcome(self, finish: Finish, *, within: int) -> str:
        """Return what `finish` made of the redirect; the browser shows the same.

        A redirect that belongs to another login is refused and does not end this one.

        Raises:
            TemporaryError: nobody came within that many milliseconds.
            ProxyError: whatever `finish` raised.
        """
        self._finish = finish
        try:
            async with asyncio.timeout(within / 1_000):
                return await self._outcome
        except TimeoutError as error:
            raise TemporaryError(
                f"nobody logged in within {within // 60_000} minutes, so nothing was stored: start"
                " anew, with --paste where the browser runs on another machine",
                maybe_sent=False,
            ) from error

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the browser with a page that holds no secret."""
        async with self._one_at_a_time:
            if self._finish is None or self._outcome.done():
                return _page(409, "No login is under way", "Look at the terminal.")
            try:
                said = await self._finish(f"?{request.rel_url.raw_query_string}")
            except UnauthorizedError as error:
                return _page(400, "This is no answer to the login under way", str(error))
            except ProxyError as error:
                self._outcome.set_exception(error)
                return _page(400, "The login failed", str(error))
            self._outcome.set_result(said)
            return _page(200, "Logged in", said)


@asynccontextmanager
async def listening(redirect_uri: str | None) -> AsyncIterator[Loopback]:
    """Listen where `redirect_uri` leads, or on a free port of 127.0.0.1 where it is None.

    Raises:
        ConfigurationError: it does not lead to this machine, or its port is taken.
    """
    host, port, path = _place(redirect_uri)
    app = web.Application()
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=5)
    loopback = Loopback(redirect_uri or "")
    app.router.add_get(path, loopback.answer, allow_head=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(
            f"the login cannot listen on {host}:{port} ({error.strerror}): free that port, or use"
            " --paste"
        ) from error
    if redirect_uri is None:
        loopback.redirect_uri = f"http://{host}:{runner.addresses[0][1]}{path}"
    try:
        yield loopback
    finally:
        await runner.cleanup()


def _place(redirect_uri: str | None) -> tuple[str, int, str]:
    if redirect_uri is None:
        return _HOST, 0, _PATH
    parts = urlsplit(redirect_uri)
    host = parts.hostname or ""
    if parts.scheme != "http" or not _is_loopback(host):
        raise ConfigurationError(
            f"the redirect URI {redirect_uri} does not lead to a listener on this machine: log in"
            " with --paste, or register http://127.0.0.1/callback for this client"
        )
    return host, parts.port or 80, parts.path or "/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _page(status: int, title: str, said: str) -> web.Response:
    text = _PAGE.format(title=html.escape(title), said=html.escape(said))
    return web.Response(status=status, text=text, content_type="text/html", headers=_HEADERS)
