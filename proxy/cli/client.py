"""The operator API of a running program, as the command line calls it."""

import asyncio
import functools
import os
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import click
import orjson
from yarl import URL

from proxy.cli.options import config_option
from proxy.domain.text import clean
from proxy.errors import ConfigurationError, PermanentError, TemporaryError, UnauthorizedError
from proxy.settings import load
from proxy.settings.sources import OPERATOR_KEY, OPERATOR_URL

_DEADLINE: Final = aiohttp.ClientTimeout(total=30)


class OperatorApi:
    """Client of one program with an operator key, which is never part of a message.

    Every call raises a ProxyError: the program's own message, or the reason for the missing answer.
    """

    def __init__(self, url: str, key: str) -> None:
        self._root = f"{_web_url(url)}/api"
        self._headers = {"X-API-Key": _header(key), "Content-Type": "application/json"}

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        """Read a page."""
        return asyncio.run(self._call("GET", path, query or {}, b""))

    def post(self, *path: str, body: Mapping[str, Any]) -> Any:
        """Perform an action, and return its result."""
        return asyncio.run(self._call("POST", path, {}, orjson.dumps(body)))

    async def _call(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: bytes
    ) -> Any:
        address = "/".join((self._root, *(quote(part, safe="") for part in path)))
        url = URL(address, encoded=True).with_query(query)
        try:
            async with (
                aiohttp.ClientSession(timeout=_DEADLINE, headers=self._headers) as session,
                # a redirect would send the key to another host
                session.request(method, url, data=body, allow_redirects=False) as response,
            ):
                status, content = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            raise TemporaryError(f"{address} could not be called: {reason}") from error
        return _result(address, status, content)


def _result(address: str, status: int, content: bytes) -> Any:
    try:
        page = orjson.loads(content)
    except orjson.JSONDecodeError:
        page = None
    if status == HTTPStatus.OK and isinstance(page, dict):
        return page
    detail = page.get("detail") if isinstance(page, dict) else None
    if not isinstance(detail, str):
        raise ConfigurationError(
            f"{address} answered {status} and not as an approval proxy does: is the address right?"
        )
    if status == HTTPStatus.UNAUTHORIZED:
        raise UnauthorizedError(f"{detail} (no operator of this program has this key)")
    raise PermanentError(clean(detail), status=status)


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
        raise ConfigurationError(f"an operator key is missing: set {OPERATOR_KEY} or give --key")
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the operator key has characters that no key has")
    return key


Connect = Callable[[], OperatorApi]
"""Returns the client that the options choose; raises ConfigurationError without a usable key."""


def api_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that choose the running program; the command gets them as `connect`."""

    @click.option(
        "--url",
        help=f"The address of the running program; the default is {OPERATOR_URL}, or else the"
        " settings' public_url.",
    )
    @click.option(
        "--key",
        help=f"The key of an operator; {OPERATOR_KEY} is safer, as other users of this machine can"
        " read a command line.",
    )
    @config_option
    @functools.wraps(command)
    def with_connect(
        *arguments: Any, url: str | None, key: str | None, config: Path | None, **options: Any
    ) -> int:
        if url and config:
            raise click.UsageError(
                "--config is read for its public_url only: omit --config or --url."
            )

        def connect() -> OperatorApi:
            address = url or (None if config else os.environ.get(OPERATOR_URL))
            address = address or load(config, os.environ).public_url
            return OperatorApi(str(address), (key or os.environ.get(OPERATOR_KEY, "")).strip())

        return command(*arguments, connect=connect, **options)

    return with_connect
