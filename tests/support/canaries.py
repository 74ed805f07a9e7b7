"""Canaries: the secrets of the tests, and looking for them where no secret may ever be.

Tokens of the simulators begin with a mark; what the tests set themselves is listed. Each is looked
for as it is and as a form, JSON or base64 would have it.
"""

import base64
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

from aiohttp import web
from typing_extensions import override

from proxy.observability.logs import JsonFormatter
from proxy.simulators.authorization import ISSUED_PREFIX

API_KEY: Final = "ap_hook-key-for-tests"
OPERATOR_KEY: Final = "ap_operator-key-for-tests"
CLIENT_SECRET: Final = "a+b%2Fc d"
EVENT_SECRET: Final = "event-secret-for-tests-0123456789"
CANARIES: Final = (CLIENT_SECRET, API_KEY, OPERATOR_KEY, EVENT_SECRET, ISSUED_PREFIX)


def _spellings(secret: str) -> Iterator[bytes]:
    for ascii_only in (True, False):
        yield json.dumps(secret, ensure_ascii=ascii_only)[1:-1].encode()
    for text in (secret, quote(secret, safe=""), quote_plus(secret)):
        plain = text.encode()
        yield plain
        for before in range(3):  # base64 of a longer text that holds it, such as "id:secret"
            coded = base64.b64encode(bytes(before) + plain)
            yield coded[(before * 8 + 5) // 6 : len(coded) - 4]


_WANTED: Final = tuple(dict.fromkeys(each for it in CANARIES for each in _spellings(it)))


def found_in(content: bytes) -> list[bytes]:
    """Return the secrets that the content holds, in whatever spelling."""
    return [spelling for spelling in _WANTED if spelling in content]


class CanaryLog(logging.Handler):
    """Looks at every record as it would be written, its extras and traceback included."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._formatter = JsonFormatter()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if found_in(self._formatter.line(record)):
            self.found.append(f"{record.name}: {record.getMessage()}")


async def stored(client: Any, namespace: str) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the name of every key of a namespace, and what is kept there."""
    async for name in client.scan_iter(match=f"*{namespace}:*"):
        match await client.type(name):
            case b"string":
                yield name, await client.get(name) or b""
            case b"hash":
                yield name, repr(await client.hgetall(name)).encode()
            case b"list":
                yield name, repr(await client.lrange(name, 0, -1)).encode()
            case b"zset":
                yield name, repr(await client.zrange(name, 0, -1)).encode()
            case b"stream":
                yield name, repr(await client.xrange(name)).encode()
            case b"set":
                yield name, repr(await client.smembers(name)).encode()
            case kind:
                assert kind == b"none", f"{name!r} is a {kind!r}, which nobody looked into"


def watched(app: web.Application) -> web.Application:
    """Let every answer be looked at, before it leaves, for what nobody outside may read."""

    async def look(request: web.Request, response: web.StreamResponse) -> None:
        body = response.body if isinstance(response, web.Response) else b""
        shown = repr(response.headers).encode() + (body if isinstance(body, bytes) else b"")
        assert not found_in(shown), f"a secret in the answer of {request.path}"

    app.on_response_prepare.append(look)
    return app
