"""Receipts of decisions, and the public keys to verify them with."""

from dataclasses import dataclass

import orjson
from aiohttp import web

from proxy.errors import NotFoundError
from proxy.web.context import WebContext
from proxy.web.http.responses import private_response
from proxy.web.operator_api.models import KeySet, Receipt
from proxy.web.operator_api.parsing import authorize, correlation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptApi:
    """Answers operators who need proof of a decision."""

    context: WebContext

    async def show(self, request: web.Request) -> web.Response:
        """Return the signed receipt of a decided request."""
        authorize(self.context, request, "read")
        named = correlation_id(request)
        entry = await self.context.store.load(named)
        if entry is None:
            raise NotFoundError(f"no request has the correlation id {named}")
        receipt = self.context.receipts.issue(entry)
        return private_response(Receipt(receipt=receipt).json_bytes())

    async def keys(self, request: web.Request) -> web.Response:
        """Return the public keys as a JWK set (RFC 7517)."""
        authorize(self.context, request, "read")
        published = orjson.loads(await self.context.published_keys())
        return private_response(KeySet(**published).json_bytes())
