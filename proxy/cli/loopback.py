"""The target of the redirect after a login: a listener on this machine (RFC 8252 7.3)."""

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
"""Takes the query of a redirect; returns the result for the person, or raises a ProxyError."""

_HOST: Final = "127.0.0.1"
_PATH: Final = "/callback"
_HEADERS: Final = {
    # the address of this page holds the code: worthless once redeemed, but not for others
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
<body><h1>{title}</h1><p>{text}</p><p>You may close this window.</p></body>
</html>
"""


class Loopback:
    """The listener at `redirect_uri`."""

    def __init__(self, redirect_uri: str) -> None:
        self.redirect_uri = redirect_uri
        self._finish: Finish | None = None
        self._lock = asyncio.Lock()
        self._outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def outcome(self, finish: Finish, *, timeout_ms: int) -> str:
        """Return the result of `finish` for the redirect; the browser shows the same.

        A redirect that belongs to another login is refused and does not end this one.

        Raises:
            TemporaryError: no redirect came within `timeout_ms`.
            ProxyError: raised by `finish`.
        """
        self._finish = finish
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                return await self._outcome
        except TimeoutError as error:
            raise TemporaryError(
                f"nobody logged in within {timeout_ms // 60_000} minutes, so nothing was stored:"
                " start again, with --paste if the browser runs on another machine",
                maybe_sent=False,
            ) from error

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the browser with a page that holds no secret."""
        async with self._lock:
            if self._finish is None or self._outcome.done():
                return _page(409, "No login is in progress", "Look at the terminal.")
            try:
                result = await self._finish(f"?{request.rel_url.raw_query_string}")
            except UnauthorizedError as error:
                return _page(
                    400, "This redirect does not belong to the login in progress", str(error)
                )
            except ProxyError as error:
                self._outcome.set_exception(error)
                return _page(400, "The login failed", str(error))
            self._outcome.set_result(result)
            return _page(200, "Logged in", result)


@asynccontextmanager
async def listening(redirect_uri: str | None) -> AsyncIterator[Loopback]:
    """Listen at `redirect_uri`, or on a free port of 127.0.0.1 if it is None.

    Raises:
        ConfigurationError: it does not lead to this machine, or its port is taken.
    """
    host, port, path = _address(redirect_uri)
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


def _address(redirect_uri: str | None) -> tuple[str, int, str]:
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


def _page(status: int, title: str, text: str) -> web.Response:
    page = _PAGE.format(title=html.escape(title), text=html.escape(text))
    return web.Response(status=status, text=page, content_type="text/html", headers=_HEADERS)
