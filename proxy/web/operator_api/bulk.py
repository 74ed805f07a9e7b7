"""Bulk actions: requests are counted first, then acted on page by page, each with its result."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy.domain.events.base import PARKED
from proxy.domain.models import Record
from proxy.errors import ProxyError
from proxy.web.context import WebContext
from proxy.web.http.responses import private_response
from proxy.web.operator_api.bodies import BulkBody
from proxy.web.operator_api.models import BulkFailure, BulkResult
from proxy.web.operator_api.pagination import Page, read_page
from proxy.web.operator_api.parsing import authorize_action
from proxy.web.operator_api.requests import Action

_CONCURRENCY: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkApi:
    """Retries or cancels the requests that a filter selects."""

    context: WebContext

    async def retry(self, request: web.Request) -> web.Response:
        """Send held and dead requests back to work."""
        action = self.context.operator_actions.retry
        return await self._act(request, action, lambda record: record.state in PARKED)

    async def cancel(self, request: web.Request) -> web.Response:
        """End undecided requests as no longer wanted."""
        action = self.context.operator_actions.cancel
        return await self._act(request, action, lambda record: record.decision is None)

    async def _act(
        self, request: web.Request, action: Action, applies: Callable[[Record], bool]
    ) -> web.Response:
        by, body = await authorize_action(self.context, request, "operate", BulkBody)
        page = Page.of(body.filter)
        records, following = await read_page(self.context.store, page)
        ids = [record.id for record in records if page.matches(record) and applies(record)]
        result = BulkResult(matching=len(ids), next=following)
        if not body.dry_run:
            result.failed = await _act_on_all(action, ids, by=by, reason=body.reason)
            result.done = len(ids) - len(result.failed)
        return private_response(result.json_bytes())


async def _act_on_all(
    action: Action, ids: Sequence[str], *, by: str, reason: str
) -> Sequence[BulkFailure]:
    """Act on every request; return those on which the action failed."""
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def act(correlation_id: str) -> BulkFailure | None:
        async with limit:
            try:
                await action(correlation_id, by=by, reason=reason)
            except ProxyError as error:
                return BulkFailure(correlation_id=correlation_id, error=str(error))
        return None

    return [failure for failure in await asyncio.gather(*map(act, ids)) if failure]
