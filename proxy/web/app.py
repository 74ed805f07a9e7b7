"""The web application of a listener: its routes, one middleware, and the limits of HTTP itself."""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from aiohttp import web

from proxy.store.changes import EventDedup
from proxy.web.backpressure import Backlog
from proxy.web.console import Console
from proxy.web.context import WebContext
from proxy.web.events import Events
from proxy.web.health.endpoints import Health
from proxy.web.health.store_monitor import StoreMonitor
from proxy.web.hook import Hook
from proxy.web.http import protocol
from proxy.web.http.middleware import Handler, Middleware
from proxy.web.openapi import OpenApi
from proxy.web.operator_api.bulk import BulkApi
from proxy.web.operator_api.overview import OverviewApi
from proxy.web.operator_api.pauses import PauseApi
from proxy.web.operator_api.receipts import ReceiptApi
from proxy.web.operator_api.requests import RequestApi

HOOKS: Final = "hooks"
EVENTS: Final = "events"
OPERATORS: Final = "operators"
PARTS: Final = frozenset({HOOKS, EVENTS, OPERATORS})
"""The parts that may have a listener of their own, because their callers differ."""

_Routes = Iterable[tuple[str, str, Handler]]


def build_application(context: WebContext, parts: Collection[str] = PARTS) -> web.Application:
    """Return the application of a listener that serves these parts.

    Without any part it serves the health endpoints alone, for a process that only works.
    """
    monitor = StoreMonitor(
        store=context.store,
        pause_store=context.pause_store,
        metrics=context.metrics,
        alarms=context.alarms,
        clock=context.clock,
    )
    hook_paths = sorted({"/", "/approval-requests", context.hook_path})
    middleware = Middleware(
        metrics=context.metrics,
        alarms=context.alarms,
        contract=frozenset(hook_paths),
        access_log=context.access_log,
        denied_calls=context.denied_calls,
        trusted_proxies=context.trusted_proxies,
    )
    app = web.Application(middlewares=[middleware.serve], handler_args=dict(protocol.limits()))
    app.cleanup_ctx.append(monitor.running)
    app.cleanup_ctx.append(context.denied_calls.running)
    if HOOKS in parts:
        _add(app, _hook_routes(context, monitor, hook_paths))
    if EVENTS in parts:
        _add(app, _event_routes(context))
    if OPERATORS in parts:
        _add(app, _operator_routes(context, monitor))
        _add(app, _console_routes())
    _add(app, _health_routes(context, monitor, parts))
    return app


def _add(app: web.Application, routes: _Routes) -> None:
    for method, path, handler in routes:
        app.router.add_route(method, path, handler, expect_handler=protocol.expect_nothing)


def _concurrency_limit(context: WebContext) -> AbstractAsyncContextManager[None]:
    return nullcontext() if context.concurrency is None else asyncio.Semaphore(context.concurrency)


def _hook_routes(context: WebContext, monitor: StoreMonitor, paths: Iterable[str]) -> _Routes:
    hook = Hook(
        context=context,
        backlog=Backlog(monitor=monitor, policy=context.backpressure, alarms=context.alarms),
        concurrency_limit=_concurrency_limit(context),
    )
    for path in paths:
        yield "POST", path, hook.submit
    yield "GET", "/approval-requests/{correlationId}", hook.show


def _event_routes(context: WebContext) -> _Routes:
    events = Events(
        context=context,
        dedup=EventDedup(context.store),
        concurrency_limit=_concurrency_limit(context),
    )
    yield "GET", "/ticket-events/{system}", events.register
    yield "POST", "/ticket-events/{system}", events.receive


def _operator_routes(context: WebContext, monitor: StoreMonitor) -> _Routes:
    overview = OverviewApi(context=context, monitor=monitor)
    yield "GET", "/api/status", overview.status
    yield "GET", "/api/alarms", overview.alarms
    requests = RequestApi(context=context)
    yield "GET", "/api/requests", requests.list
    yield "GET", "/api/requests/{correlationId}", requests.show
    yield "POST", "/api/requests/{correlationId}/retry", requests.retry
    yield "POST", "/api/requests/{correlationId}/attach", requests.attach
    for name, handler in requests.actions().items():
        yield "POST", f"/api/requests/{{correlationId}}/{name}", handler
    yield "POST", "/api/trials", requests.open_trial
    bulk = BulkApi(context=context)
    yield "POST", "/api/bulk/retry", bulk.retry
    yield "POST", "/api/bulk/cancel", bulk.cancel
    pauses = PauseApi(context=context)
    yield "POST", "/api/destinations/{destination}/pause", pauses.pause
    yield "POST", "/api/destinations/{destination}/resume", pauses.resume
    receipts = ReceiptApi(context=context)
    yield "GET", "/api/requests/{correlationId}/receipt", receipts.show
    yield "GET", "/api/signing-keys", receipts.keys


def _console_routes() -> _Routes:
    """Return the console's routes, on the listener of the API that it calls and on no other."""
    console = Console()
    yield "GET", "/console", console.enter
    yield "GET", "/console/", console.page
    yield "GET", "/console/{file}", console.file


def _health_routes(context: WebContext, monitor: StoreMonitor, parts: Collection[str]) -> _Routes:
    """Return the health endpoints for the callers of these parts.

    A listener that faces the internet names no paused destination.
    """
    health = Health(monitor=monitor, workers=context.workers, metrics=context.metrics)
    yield "GET", "/livez", health.alive
    inside = not parts or OPERATORS in parts
    if inside or HOOKS in parts:
        yield "GET", "/readyz", health.ready
    if inside:
        yield "GET", "/metrics", health.metrics_text
        yield "GET", "/openapi.yaml", OpenApi(hook_path=context.hook_path).show
