"""The operator API of requests: list them, show one, and act on it."""

import asyncio
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from proxy.domain.models import Record, State, StoredRequest
from proxy.errors import ConfigurationError, InvalidRequestError, NotFoundError, PermanentError
from proxy.observability import logs
from proxy.web.context import WebContext
from proxy.web.http.middleware import Handler
from proxy.web.http.responses import private_response
from proxy.web.operator_api.bodies import AttachBody, ListQuery, ReasonBody, RetryBody, TrialBody
from proxy.web.operator_api.models import RequestPage, Row
from proxy.web.operator_api.pagination import Page, read_page
from proxy.web.operator_api.parsing import authorize, authorize_action, correlation_id, validate
from proxy.web.operator_api.views import detail_view, operator_view, summary_view


class Action(Protocol):
    """An action of operators that needs nothing but a reason."""

    async def __call__(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Act on a request; raises a ProxyError if that is not possible."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestApi:
    """Answers operators; everybody else gets a 401."""

    context: WebContext

    async def list(self, request: web.Request) -> web.Response:
        """List requests, newest first, one page at a time."""
        authorize(self.context, request, "read")
        selection = validate(ListQuery, dict(request.query))
        page = Page.of(selection)
        if selection.ticket:
            records, following = await self._of_ticket(selection.ticket, selection.state), ""
        else:
            records, following = await read_page(self.context.store, page)
        matching = [record for record in records if page.matches(record)]
        rows: Sequence[Row] = [summary_view(record) for record in matching]
        if selection.details == "true":
            rows = await asyncio.gather(*map(self._detailed, matching))
        return private_response(RequestPage(requests=rows, next=following).json_bytes())

    async def _of_ticket(self, ticket: str, states: Sequence[State]) -> Sequence[Record]:
        """Return the requests of a ticket's key or id, in whatever system, newest first."""
        store = self.context.store
        ids = await asyncio.gather(
            *[store.find(system, [ticket]) for system in self.context.destinations]
        )
        records = await store.records(sorted(set().union(*ids)))
        matching = [record for record in records if record.state in states]
        return sorted(matching, key=lambda record: record.admitted_at, reverse=True)

    async def _detailed(self, record: Record) -> Row:
        """Return a row with details; without them if the request cannot be decrypted now."""
        try:
            entry = await self.context.store.load(record.id)
        except ConfigurationError:
            entry = None
        if entry is None:
            return summary_view(record)
        allowed = await self.context.operator_actions.allowed_fields(entry)
        return detail_view(entry, allowed=allowed)

    async def show(self, request: web.Request) -> web.Response:
        """Show one request with its history."""
        authorize(self.context, request, "read")
        return await self._show(correlation_id(request))

    async def retry(self, request: web.Request) -> web.Response:
        """Send a held or dead request back to work."""
        by, body = await authorize_action(self.context, request, "operate", RetryBody)
        named = correlation_id(request)
        await self.context.operator_actions.retry(
            named, by=by, reason=body.reason, no_ticket_exists=body.no_ticket_exists
        )
        return await self._show(named)

    async def attach(self, request: web.Request) -> web.Response:
        """Link a request to the ticket that belongs to it."""
        by, body = await authorize_action(self.context, request, "operate", AttachBody)
        named, actions = correlation_id(request), self.context.operator_actions
        with _ticket_errors("ticketKey"):
            await actions.attach(named, body.ticket_key, by=by, reason=body.reason)
        return await self._show(named)

    async def open_trial(self, request: web.Request) -> web.Response:
        """Open a request marked TEST, and show it."""
        by, body = await authorize_action(self.context, request, "operate", TrialBody)
        opened = await self.context.operator_actions.open_trial(body.system, body.fields, by=by)
        logs.correlation_id.set(opened)
        return await self._show(opened)

    def actions(self) -> Mapping[str, Handler]:
        """Return the handlers of the actions that need nothing but a reason, by their path."""
        actions = self.context.operator_actions
        table: Mapping[str, Action] = {
            "release": actions.release,
            "reject": actions.reject,
            "cancel": actions.cancel,
            "refresh": actions.refresh,
            "reroute": actions.reroute,
        }
        return {name: functools.partial(self._act, action) for name, action in table.items()}

    async def _act(self, action: Action, request: web.Request) -> web.Response:
        by, body = await authorize_action(self.context, request, "operate", ReasonBody)
        named = correlation_id(request)
        with _ticket_errors("ticket"):
            await action(named, by=by, reason=body.reason)
        return await self._show(named)

    async def _show(self, named: str) -> web.Response:
        store = self.context.store
        try:
            entry = await store.load(named)
        except ConfigurationError as error:
            raise InvalidRequestError(f"correlationId: it cannot be read: {error}") from error
        if entry is None:
            raise NotFoundError(f"no request has the correlation id {named}")
        history, due = await store.history(named), await store.due(named)
        allowed = await self.context.operator_actions.allowed_fields(entry)
        view = operator_view(entry, history, due=due, allowed=allowed)
        return private_response(view.json_bytes())


@contextmanager
def _ticket_errors(field: str) -> Iterator[None]:
    """Turn the errors of reading a ticket into a 400 that names the field."""
    try:
        yield
    except NotFoundError:
        raise
    except (ConfigurationError, PermanentError) as error:
        raise InvalidRequestError(f"{field} could not be read: {error}") from error
