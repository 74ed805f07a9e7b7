"""Puts the listeners together: every route, one middleware, and the limits of HTTP itself."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy.audit.denied_calls import DeniedCalls
from proxy.audit.receipts import Receipts
from proxy.domain.clock import Clock
from proxy.net.urls import CallbackPrefix
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.store.changes import EventDedup
from proxy.store.pauses import PauseStore
from proxy.store.requests import RequestStore
from proxy.tickets.port import PushesEvents
from proxy.web.auth import Clients
from proxy.web.backpressure import Backlog, BackpressurePolicy
from proxy.web.console import Console
from proxy.web.events import Events, Fetches
from proxy.web.health.endpoints import Health
from proxy.web.health.store_monitor import StoreMonitor
from proxy.web.hook import Hook
from proxy.web.http import protocol
from proxy.web.http.limits import Action, Crew, Flow, Limits, OperatorActions
from proxy.web.http.middleware import Handler, Middleware
from proxy.web.http.trusted_proxies import TrustedProxies
from proxy.web.operator_api.alarms import AlarmApi, Board
from proxy.web.operator_api.bulk import Bulk
from proxy.web.operator_api.pauses import Pausing
from proxy.web.operator_api.receipts import ReceiptApi
from proxy.web.operator_api.requests import OperatorApi

HOOKS: Final = "hooks"
EVENTS: Final = "events"
OPERATORS: Final = "operators"
PARTS: Final = frozenset({HOOKS, EVENTS, OPERATORS})
"""What may listen at a place of its own: each faces somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What listeners serve from.

    `path` is one more path of the hook, `event_memory` how many milliseconds an event is known
    again, `access` whether there is an access log, `published` gives the public keys of receipts,
    `destinations` are what operators may pause, `at_once` bounds the hook calls that are stored at
    the same time, and the events that are looked into (None: any number).
    """

    flow: Flow
    operations: OperatorActions
    store: RequestStore
    pause_store: PauseStore
    clients: Clients
    operators: Clients
    instances: Mapping[str, Sequence[CallbackPrefix]]
    systems: Mapping[str, PushesEvents]
    destinations: Collection[str]
    public_url: str
    path: str = "/approval-requests"
    limits: Limits
    slope: BackpressurePolicy
    at_once: int | None = None
    event_memory: int
    event_keys: Mapping[str, Fetches]
    client_cert_systems: Collection[str]
    peers: TrustedProxies
    refusals: DeniedCalls
    receipts: Receipts
    published: Callable[[], Awaitable[bytes]]
    crew: Crew
    metrics: Metrics
    alarms: Alarms
    board: Board
    clock: Clock
    access: bool = True

    def application(self, parts: Collection[str] = PARTS) -> web.Application:
        """Return the application of some parts; it looks at the store as long as it runs."""
        watch = StoreMonitor(
            store=self.store,
            pause_store=self.pause_store,
            metrics=self.metrics,
            alarms=self.alarms,
            clock=self.clock,
        )
        paths = sorted({"/", "/approval-requests", self.path})
        frame = Middleware(
            metrics=self.metrics,
            alarms=self.alarms,
            contract=frozenset(paths),
            access=self.access,
            refused=self.refusals.count,
            remote=self.peers.client,
        )
        app = _application(frame, watch)
        app.cleanup_ctx.append(self.refusals.running)
        if HOOKS in parts:
            self._serve_hooks(app, watch, paths)
        if EVENTS in parts:
            self._serve_events(app)
        if OPERATORS in parts:
            self._serve_operators(app, watch)
        health = Health(watch=watch, crew=self.crew, metrics=self.metrics, hook_path=self.path)
        _add_health(app, health, parts)
        return app

    def _room(self) -> AbstractAsyncContextManager[None]:
        """Return what bounds how much of one kind is taken in at the same time."""
        return nullcontext() if self.at_once is None else asyncio.Semaphore(self.at_once)

    def _serve_hooks(self, app: web.Application, watch: StoreMonitor, paths: Iterable[str]) -> None:
        hook = Hook(
            flow=self.flow,
            store=self.store,
            backlog=Backlog(watch=watch, slope=self.slope, alarms=self.alarms),
            room=self._room(),
            clients=self.clients,
            operators=self.operators,
            instances=self.instances,
            public_url=self.public_url,
            limits=self.limits,
        )
        for path in paths:
            _serve(app, "POST", path, hook.submit)
        _serve(app, "GET", "/approval-requests/{correlationId}", hook.show)

    def _serve_events(self, app: web.Application) -> None:
        events = Events(
            flow=self.flow,
            room=self._room(),
            dedup=EventDedup(self.store),
            systems=self.systems,
            metrics=self.metrics,
            clock=self.clock,
            limits=self.limits,
            memory=self.event_memory,
            keys=self.event_keys,
            certified=self.client_cert_systems,
            peers=self.peers,
        )
        _serve(app, "GET", "/ticket-events/{system}", events.register)
        _serve(app, "POST", "/ticket-events/{system}", events.receive)

    def _serve_operators(self, app: web.Application, watch: StoreMonitor) -> None:
        operations, store, operators = self.operations, self.store, self.operators
        api = OperatorApi(
            operations=operations,
            store=store,
            watch=watch,
            crew=self.crew,
            operators=operators,
            destinations=self.destinations,
            limits=self.limits,
        )
        _add_routes(app, api)
        _add_actions(app, api, operations)
        bulk = Bulk(operations=operations, store=store, operators=operators, limits=self.limits)
        pausing = Pausing(
            pause_store=self.pause_store,
            operators=operators,
            destinations=self.destinations,
            limits=self.limits,
        )
        given = ReceiptApi(
            store=store, receipts=self.receipts, published=self.published, operators=operators
        )
        _add_all(app, bulk, pausing, given)
        sounded = AlarmApi(board=self.board, operators=operators)
        _serve(app, "GET", "/api/alarms", sounded.list)
        _add_console(app, Console())


def build_health(
    *,
    store: RequestStore,
    pause_store: PauseStore,
    crew: Crew,
    metrics: Metrics,
    alarms: Alarms,
    clock: Clock,
    access: bool = True,
) -> web.Application:
    """Return the application of a process that serves nobody and only says how it is."""
    watch = StoreMonitor(
        store=store, pause_store=pause_store, metrics=metrics, alarms=alarms, clock=clock
    )
    frame = Middleware(metrics=metrics, alarms=alarms, contract=frozenset(), access=access)
    app = _application(frame, watch)
    _add_health(app, Health(watch=watch, crew=crew, metrics=metrics, hook_path="/"))
    return app


def _application(frame: Middleware, watch: StoreMonitor) -> web.Application:
    app = web.Application(middlewares=[frame.serve], handler_args=dict(protocol.limits()))
    app.cleanup_ctx.append(watch.running)
    return app


def _add_routes(app: web.Application, api: OperatorApi) -> None:
    _serve(app, "GET", "/api/status", api.status)
    _serve(app, "GET", "/api/requests", api.list)
    _serve(app, "GET", "/api/requests/{correlationId}", api.show)
    _serve(app, "POST", "/api/requests/{correlationId}/retry", api.retry)
    _serve(app, "POST", "/api/requests/{correlationId}/attach", api.attach)


def _add_all(app: web.Application, bulk: Bulk, pausing: Pausing, given: ReceiptApi) -> None:
    """Serve what is about more than one request, and the receipts."""
    _serve(app, "POST", "/api/bulk/retry", bulk.retrying())
    _serve(app, "POST", "/api/bulk/cancel", bulk.cancelling())
    _serve(app, "POST", "/api/destinations/{destination}/pause", pausing.pause)
    _serve(app, "POST", "/api/destinations/{destination}/resume", pausing.resume)
    _serve(app, "GET", "/api/requests/{correlationId}/receipt", given.show)
    _serve(app, "GET", "/api/signing-keys", given.keys)


def _add_actions(app: web.Application, api: OperatorApi, operations: OperatorActions) -> None:
    """Serve what operators do beside looking; most needs nothing but a reason."""
    _serve(app, "POST", "/api/trials", api.open_trial)
    actions: Mapping[str, Action] = {
        "release": operations.release,
        "reject": operations.reject,
        "cancel": operations.cancel,
        "refresh": operations.refresh,
        "reroute": operations.reroute,
    }
    for name, action in actions.items():
        _serve(app, "POST", f"/api/requests/{{correlationId}}/{name}", api.acting(action))


def _add_console(app: web.Application, console: Console) -> None:
    """Serve the console beside the API that it calls, and nowhere else."""
    _serve(app, "GET", "/console", console.enter)
    _serve(app, "GET", "/console/", console.page)
    _serve(app, "GET", "/console/{file}", console.file)


def _add_health(app: web.Application, health: Health, parts: Collection[str] = PARTS) -> None:
    """Serve what is meant for each kind of caller: the internet need not know what is paused."""
    _serve(app, "GET", "/livez", health.alive)
    if HOOKS in parts or OPERATORS in parts:
        _serve(app, "GET", "/readyz", health.ready)
    if OPERATORS in parts:
        _serve(app, "GET", "/metrics", health.measured)
        _serve(app, "GET", "/openapi.yaml", health.described)


def _serve(app: web.Application, method: str, path: str, answering: Handler) -> None:
    app.router.add_route(method, path, answering, expect_handler=protocol.expect_nothing)
