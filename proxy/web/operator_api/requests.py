"""The operator API: find requests, read all about one, send it back to work."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from aiohttp import web

from proxy.domain.models import Record, State, StoredRequest
from proxy.errors import ConfigurationError, InvalidRequestError, NotFoundError, PermanentError
from proxy.observability import logs
from proxy.web.auth import Clients, Role
from proxy.web.health.store_monitor import StoreMonitor
from proxy.web.http.body import json_object, read_body
from proxy.web.http.limits import Action, Crew, Limits, OperatorActions
from proxy.web.http.middleware import CLIENT
from proxy.web.http.responses import private_answer
from proxy.web.operator_api.pagination import Page
from proxy.web.operator_api.views import detail_view, operator_view, pause_view, summary_view

_LONGEST_BODY: Final = 16_384
_LONGEST_TEXT: Final = 500


class Reads(Protocol):
    """The part of the store that operators see."""

    async def load(self, correlation_id: str) -> StoredRequest | None:
        """Read one request."""
        ...

    async def records(self, ids: Sequence[str]) -> list[Record]:
        """Read the records of several requests alone; some may be gone."""
        ...

    async def find(self, system: str, refs: Sequence[str]) -> list[str]:
        """Return the ids of requests that a ticket's id or key, or a correlation id, names."""
        ...

    async def due(self, correlation_id: str) -> int | None:
        """Return when a request is looked at next."""
        ...

    async def history(self, correlation_id: str) -> list[Mapping[str, Any]]:
        """Return what happened to a request, oldest first."""
        ...

    async def list_ids(
        self, states: Sequence[State], *, limit: int, before: int | None = None
    ) -> list[str]:
        """Return ids in the states, newest first, admitted before a moment."""
        ...

    async def open_counts(self) -> dict[tuple[str, str], int]:
        """Return how many open requests each (witboost instance, ticket system) has."""
        ...


class OperatorApi:
    """Answers operators; everyone else gets a 401."""

    def __init__(
        self,
        *,
        operations: OperatorActions,
        store: Reads,
        watch: StoreMonitor,
        crew: Crew,
        operators: Clients,
        destinations: Collection[str],
        limits: Limits,
    ) -> None:
        self._operations = operations
        self._store = store
        self._watch = watch
        self._crew = crew
        self._operators = operators
        self._destinations = destinations
        self._within = limits.body_deadline

    async def list(self, request: web.Request) -> web.Response:
        """List requests, newest first, one page at a time."""
        self._operator(request, "read")
        page = Page.parse(request.query)
        if ticket := request.query.get("ticket", ""):
            records, following = await self._of_ticket(ticket, page.states), ""
        else:
            ids = await self._store.list_ids(page.states, limit=page.fetch, before=page.before)
            records, following = page.slice(await self._store.records(ids), full=len(ids))
        fitting = [record for record in records if page.fits(record)]
        rows: Sequence[Mapping[str, Any]] = [summary_view(record) for record in fitting]
        if page.details:
            rows = await asyncio.gather(*map(self._detailed, fitting))
        body: dict[str, Any] = {"requests": rows}
        return private_answer(body | ({"next": following} if following else {}))

    async def _of_ticket(self, ticket: str, states: Sequence[State]) -> Sequence[Record]:
        """Return the requests that a ticket's key or id names, in whatever system, newest first."""
        found = await asyncio.gather(*[self._store.find(it, [ticket]) for it in self._destinations])
        records = await self._store.records(sorted({each for ids in found for each in ids}))
        fitting = [record for record in records if record.state in states]
        return sorted(fitting, key=lambda it: it.admitted_at, reverse=True)

    async def _detailed(self, record: Record) -> Mapping[str, Any]:
        """Return a row with what a person looks for; without it where it cannot be read now."""
        try:
            entry = await self._store.load(record.id)
        except ConfigurationError:
            entry = None
        if entry is None:
            return summary_view(record)
        return detail_view(entry, allowed=await self._operations.allowed_fields(entry))

    async def show(self, request: web.Request) -> web.Response:
        """Show one request with its history."""
        self._operator(request, "read")
        return await self._shown(_named(request))

    async def retry(self, request: web.Request) -> web.Response:
        """Send a held or dead request back to work."""
        by = self._operator(request, "operate")
        asked = await self._body(request)
        await self._operations.retry(
            _named(request),
            by=by,
            reason=read_text(asked, "reason"),
            no_ticket_exists=_flag(asked, "noTicketExists"),
        )
        return await self._shown(_named(request))

    async def attach(self, request: web.Request) -> web.Response:
        """Tell a request which ticket is its own."""
        by = self._operator(request, "operate")
        asked = await self._body(request)
        ticket, reason = read_text(asked, "ticketKey"), read_text(asked, "reason")
        with _ticket_reads("ticketKey"):
            await self._operations.attach(_named(request), ticket, by=by, reason=reason)
        return await self._shown(_named(request))

    async def open_trial(self, request: web.Request) -> web.Response:
        """Open a request marked TEST, and show it."""
        by = self._operator(request, "operate")
        asked = await self._body(request)
        fields = asked.get("fields", {})
        if not isinstance(fields, dict):
            raise InvalidRequestError("fields must be a JSON object")
        correlation_id = await self._operations.open_trial(
            read_text(asked, "system"), fields, by=by
        )
        logs.correlation_id.set(correlation_id)
        return await self._shown(correlation_id)

    def acting(self, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what does something to a request that needs nothing but a reason."""

        async def act(request: web.Request) -> web.Response:
            by = self._operator(request, "operate")
            asked = await self._body(request)
            with _ticket_reads("ticket"):
                await action(_named(request), by=by, reason=read_text(asked, "reason"))
            return await self._shown(_named(request))

        return act

    async def status(self, request: web.Request) -> web.Response:
        """Show counts, backlog and pauses as the last look at the store found them; who is down."""
        operator = self._operators.permitted(request.headers, "read")
        request[CLIENT] = operator.name
        opened = await self._store.open_counts()
        watch = self._watch
        return private_answer(
            {
                "operator": {"name": operator.name, "role": operator.role},
                "requests": {state.value: watch.counts.get(state, 0) for state in State},
                "backlog": watch.waiting,
                "open": [
                    {"instance": instance, "system": system, "requests": count}
                    for (instance, system), count in sorted(opened.items())
                ],
                "destinations": sorted(self._destinations),
                "paused": [pause_view(name, pause) for name, pause in watch.paused.items()],
                "down": [{"worker": name, "reason": how} for name, how in self._crew.down.items()],
            }
        )

    def _operator(self, request: web.Request, role: Role) -> str:
        name = self._operators.permitted(request.headers, role).name
        request[CLIENT] = name
        return name

    async def _body(self, request: web.Request) -> Mapping[str, Any]:
        body = await read_body(request, limit=_LONGEST_BODY, within=self._within)
        return json_object(request, body)

    async def _shown(self, correlation_id: str) -> web.Response:
        try:
            entry = await self._store.load(correlation_id)
        except ConfigurationError as error:
            raise InvalidRequestError(f"correlationId: it cannot be read: {error}") from error
        if entry is None:
            raise NotFoundError(f"There is no request {correlation_id}")
        history = await self._store.history(correlation_id)
        due = await self._store.due(correlation_id)
        allowed = await self._operations.allowed_fields(entry)
        return private_answer(operator_view(entry, history, due=due, allowed=allowed))


@contextmanager
def _ticket_reads(field: str) -> Iterator[None]:
    """Answer that a ticket cannot be read as the caller's affair, not as ours."""
    try:
        yield
    except NotFoundError:
        raise
    except (ConfigurationError, PermanentError) as error:
        raise InvalidRequestError(f"{field} could not be read: {error}") from error


def _named(request: web.Request) -> str:
    correlation_id = request.match_info["correlationId"][:64]
    logs.correlation_id.set(correlation_id)
    return correlation_id


def read_text(asked: Mapping[str, Any], name: str) -> str:
    """Return a text that an operator must give; raises InvalidRequest."""
    text = asked.get(name)
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequestError(f"{name} must be a text that is not empty")
    if len(text) > _LONGEST_TEXT:
        raise InvalidRequestError(f"{name} is longer than {_LONGEST_TEXT} characters")
    return text.strip()


def _flag(asked: Mapping[str, Any], name: str) -> bool:
    flag = asked.get(name, False)
    if not isinstance(flag, bool):
        raise InvalidRequestError(f"{name} must be true or false")
    return flag
