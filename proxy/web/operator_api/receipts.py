"""Receipts of decisions, and the public keys to verify them with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import orjson
from aiohttp import web

from proxy.audit.receipts import Receipts
from proxy.domain.models import StoredRequest
from proxy.errors import NotFoundError
from proxy.web.auth import Clients
from proxy.web.http.middleware import CLIENT
from proxy.web.http.responses import private_answer


class Loads(Protocol):
    """The part of the store that is read here."""

    async def load(self, correlation_id: str) -> StoredRequest | None:
        """Read one request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptApi:
    """Answers operators; `published` asks for the JWK set of all keys that ever signed."""

    store: Loads
    receipts: Receipts
    published: Callable[[], Awaitable[bytes]]
    operators: Clients

    async def show(self, request: web.Request) -> web.Response:
        """Give the signed receipt of a decided request."""
        self._identify(request)
        correlation_id = request.match_info["correlationId"][:64]
        entry = await self.store.load(correlation_id)
        if entry is None:
            raise NotFoundError(f"There is no request {correlation_id}")
        return private_answer({"receipt": self.receipts.issue(entry)})

    async def keys(self, request: web.Request) -> web.Response:
        """Give the public keys as a JWK set (RFC 7517)."""
        self._identify(request)
        return private_answer(orjson.loads(await self.published()))

    def _identify(self, request: web.Request) -> None:
        request[CLIENT] = self.operators.permitted(request.headers, "read").name
