"""Many requests at once: counted first, then acted on page by page, each with its own outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web

from proxy.domain.models import Record, State, StoredRequest
from proxy.errors import InvalidRequestError, NotFoundError, ProxyError
from proxy.web.auth import Clients
from proxy.web.http.body import json_object, read_body
from proxy.web.http.limits import Limits, OperatorActions
from proxy.web.http.middleware import CLIENT
from proxy.web.http.responses import private_answer
from proxy.web.operator_api.pagination import Page
from proxy.web.operator_api.requests import Reads, read_text

_LONGEST_BODY: Final = 16_384
_AT_ONCE: Final = 8
_ASIDE: Final = (State.HELD, State.DEAD)


class Does(Protocol):
    """What is done to one request."""

    async def __call__(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Do it; raises a ProxyError where that is not possible."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """Retries or cancels what a filter names."""

    operations: OperatorActions
    store: Reads
    operators: Clients
    limits: Limits

    def retrying(self) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what sends held and dead requests back to work."""
        return self._acting(self.operations.retry, lambda it: it.state in _ASIDE)

    def cancelling(self) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what ends undecided requests as not wanted any more."""
        return self._acting(self.operations.cancel, lambda it: it.decision is None)

    def _acting(
        self, do: Does, possible: Callable[[Record], bool]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def act(request: web.Request) -> web.Response:
            by = request[CLIENT] = self.operators.permitted(request.headers, "operate").name
            body = await read_body(request, limit=_LONGEST_BODY, within=self.limits.body_deadline)
            asked = json_object(request, body)
            reason, page = read_text(asked, "reason"), _page(asked)
            records, following = await self._read(page)
            wanted = [it.id for it in records if page.fits(it) and possible(it)]
            answer: dict[str, Any] = {"matching": len(wanted)}
            if not asked.get("dryRun", True):
                answer |= await _do_all(do, wanted, by=by, reason=reason)
            return private_answer(answer | ({"next": following} if following else {}))

        return act

    async def _read(self, page: Page) -> tuple[Sequence[Record], str]:
        ids = await self.store.list_ids(page.states, limit=page.fetch, before=page.before)
        return page.slice(await self.store.records(ids), full=len(ids))


async def _do_all(do: Does, ids: Sequence[str], *, by: str, reason: str) -> Mapping[str, Any]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(correlation_id: str) -> Mapping[str, str] | None:
        async with places:
            try:
                await do(correlation_id, by=by, reason=reason)
            except (ProxyError, NotFoundError) as error:
                return {"correlationId": correlation_id, "error": str(error)}
        return None

    failed = [it for it in await asyncio.gather(*map(one, ids)) if it]
    return {"done": len(ids) - len(failed), "failed": failed}


def _page(asked: Mapping[str, Any]) -> Page:
    """Return the page of a filter, which has the parameters of the list of requests.

    Raises:
        InvalidRequest: there is none, or one that names no state: a slip must not name them all.
    """
    wanted = asked.get("filter")
    if not isinstance(wanted, dict) or not all(isinstance(it, str) for it in wanted.values()):
        raise InvalidRequestError(
            "filter must be a JSON object of texts, as the list of requests has"
        )
    if not isinstance(asked.get("dryRun", True), bool):
        raise InvalidRequestError("dryRun must be true or false")
    if not wanted.get("state"):
        raise InvalidRequestError("filter must name at least one state")
    unknown = sorted(wanted.keys() - {"state", "system", "instance", "code", "limit", "before"})
    if unknown:
        raise InvalidRequestError(f"filter has unknown parameters: {', '.join(unknown)}")
    return Page.parse({"limit": "100", **wanted})
