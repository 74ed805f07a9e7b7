"""The operators' console: a few static files that call the operator API with an operator's key.

It has no rights and no state of its own. The response headers allow it to run nothing but these
files and to call nothing but this listener, and the browser enforces that.
"""

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from aiohttp import web

PAGE: Final = "index.html"
_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content Security Policy Level 3, with Trusted Types: no text becomes markup or a script."""

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked for again with its ETag
}

_SECURE: Final = {**_HEADERS, "Strict-Transport-Security": "max-age=31536000"}
"""Where we speak TLS ourselves, browsers keep to it for a year (RFC 6797)."""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    headers: dict[str, str]


class Console:
    """Serves the files, which are read once."""

    def __init__(self) -> None:
        self._files = {
            file.name: _file(file.name, file.read_bytes())
            for file in files(__name__).iterdir()
            if file.name.rpartition(".")[2] in _KINDS
        }

    async def enter(self, _request: web.Request) -> web.Response:
        """Redirect to the page, below any path that a reverse proxy has put before ours."""
        headers = {"Location": "console/"}
        return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers=headers)

    async def page(self, request: web.Request) -> web.Response:
        """Return the page."""
        return self._answer(request, PAGE)

    async def file(self, request: web.Request) -> web.Response:
        """Return a file that the page refers to."""
        return self._answer(request, request.match_info["file"])

    def _answer(self, request: web.Request, name: str) -> web.Response:
        if (file := self._files.get(name)) is None:
            raise web.HTTPNotFound
        headers = file.headers | (_SECURE if request.secure else _HEADERS)
        if headers["ETag"] in request.headers.get("If-None-Match", ""):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(body=file.body, headers=headers)


def _file(name: str, body: bytes) -> _File:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    kind = _KINDS[name.rpartition(".")[2]]
    return _File(body, {"ETag": tag, "Content-Type": kind})
