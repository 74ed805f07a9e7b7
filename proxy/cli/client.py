"""The operator API of a running program, as the command line calls it."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from proxy.errors import ConfigurationError, PermanentError, TemporaryError, UnauthorizedError
from proxy.tickets.declaring.sanitize import clean

_DEADLINE: Final = aiohttp.ClientTimeout(total=30)


class OperatorApi:
    """Calls one program with an operator key, which goes into no message.

    Every call raises a ProxyError: what the program said, or that nothing usable came from there.
    """

    def __init__(self, url: str, key: str) -> None:
        self._root = f"{_web_url(url)}/api"
        self._headers = {"X-API-Key": _header(key), "Content-Type": "application/json"}

    def open_trial(self, body: Mapping[str, Any]) -> Any:
        """Open a request marked TEST, and return it."""
        return asyncio.run(self._ask("POST", ("trials",), {}, orjson.dumps(body)))

    def bulk(self, action: str, body: Mapping[str, Any]) -> Any:
        """Count, or act on, one page of what a filter names."""
        return asyncio.run(self._ask("POST", ("bulk", action), {}, orjson.dumps(body)))

    def destination(self, name: str, action: str, body: Mapping[str, Any]) -> Any:
        """Pause or resume a destination, and return everything that is paused."""
        path = ("destinations", name, action)
        return asyncio.run(self._ask("POST", path, {}, orjson.dumps(body)))

    def signing_keys(self) -> Any:
        """Return the public keys of receipts."""
        return asyncio.run(self._ask("GET", ("signing-keys",), {}, b""))

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        """Read a page."""
        return asyncio.run(self._ask("GET", ("requests", *path), query or {}, b""))

    def post(self, *path: str, body: Mapping[str, Any]) -> Any:
        """Act on a request, and return it as it then is."""
        return asyncio.run(self._ask("POST", ("requests", *path), {}, orjson.dumps(body)))

    async def _ask(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: bytes
    ) -> Any:
        address = "/".join((self._root, *(quote(part, safe="") for part in path)))
        url = URL(address, encoded=True).with_query(query)
        try:
            async with (
                aiohttp.ClientSession(timeout=_DEADLINE, headers=self._headers) as session,
                # a redirect would take the key to somewhere else
                session.request(method, url, data=body, allow_redirects=False) as answer,
            ):
                status, content = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            said = str(error) or "no answer in time"
            raise TemporaryError(f"{address} could not be asked: {said}") from error
        return _answered(address, status, content)


def _answered(address: str, status: int, content: bytes) -> Any:
    try:
        page = orjson.loads(content)
    except orjson.JSONDecodeError:
        page = None
    if status == HTTPStatus.OK and isinstance(page, dict):
        return page
    said = page.get("detail") if isinstance(page, dict) else None
    if not isinstance(said, str):
        raise ConfigurationError(
            f"{address} answered {status} and not as an approval proxy does: is the address right?"
        )
    if status == HTTPStatus.UNAUTHORIZED:
        raise UnauthorizedError(f"{said} (no operator of this program has this key)")
    raise PermanentError(clean(said), status=status)


def _web_url(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(f"the program's address must be an http(s) URL, not {text!r}")
    return text.rstrip("/")


def _header(key: str) -> str:
    if not key:
        raise ConfigurationError("there is no operator key: set APPROVAL_PROXY_KEY or give --key")
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the operator key holds characters that no key has")
    return key
