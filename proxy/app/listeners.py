"""The web applications of a serving process, one for each listener."""

from collections.abc import Collection
from typing import Final

from aiohttp import web

from proxy.app import api_clients
from proxy.app.destinations import prefixes
from proxy.app.runtime import Runtime
from proxy.audit.denied_calls import DeniedCalls
from proxy.audit.receipts import Receipts
from proxy.net.addresses import read_networks
from proxy.settings import Settings
from proxy.settings.serving import Listen, Listener
from proxy.tickets.port import PushesEvents
from proxy.web.app import EVENTS, OPERATORS, PARTS, build_application
from proxy.web.backpressure import BackpressurePolicy
from proxy.web.context import Limits, WebContext
from proxy.web.http.connections import ConnectionLimits
from proxy.web.http.trusted_proxies import TrustedProxies

_REQUESTS_PER_CALL: Final = 32
"""The requests in progress for each hook call that is accepted at the same time."""


def listeners(
    runtime: Runtime, *, working: bool
) -> list[tuple[Listen | Listener, web.Application]]:
    """Return each listener with its web application; see `application` for `working`."""
    listen = runtime.settings.listen
    separate = {
        part: listener
        for part, listener in ((EVENTS, listen.events), (OPERATORS, listen.operators))
        if listener is not None
    }
    main = application(runtime, PARTS - separate.keys(), working=working)
    return [
        (listen, main),
        *(
            (listener, application(runtime, {part}, working=working))
            for part, listener in separate.items()
        ),
    ]


def application(
    runtime: Runtime, parts: Collection[str] = PARTS, *, working: bool = False
) -> web.Application:
    """Return the web application with the routes of these parts.

    If the same process is `working`, too, it accepts only a few hook calls and events at a time.
    A step of a request is a dozen turns of the event loop, and each turn waits for a turn of every
    call that is being accepted: with one call per connection, accepted requests would wait ever
    longer (64 connections: a fifth of the callbacks in the same time).
    """
    requests = runtime.settings.worker.concurrency
    concurrency = max(1, requests // _REQUESTS_PER_CALL) if working else None
    return build_application(_context(runtime, concurrency), parts)


def health_application(runtime: Runtime) -> web.Application:
    """Return the web application of a process that only works: health and metrics."""
    return build_application(_context(runtime), parts=())


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits of the connections to a listener."""
    limits = settings.limits
    return ConnectionLimits(
        connections=limits.connections,
        per_client=limits.connections_per_client,
        first_request=limits.first_request,
        idle=limits.idle,
    )


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """Return the proxies whose forwarding headers are trusted."""
    return TrustedProxies(read_networks(settings.listen.trusted_proxies))


def _context(runtime: Runtime, concurrency: int | None = None) -> WebContext:
    settings, limits = runtime.settings, runtime.settings.limits
    systems = runtime.systems.items()
    return WebContext(
        flow=runtime.flow,
        operator_actions=runtime.operator_actions,
        store=runtime.store,
        pause_store=runtime.pause_store,
        clients=api_clients.clients(settings),
        operators=api_clients.operators(settings),
        callback_prefixes={name: prefixes(tree) for name, tree in settings.witboost.items()},
        event_systems={
            name: system for name, system in systems if isinstance(system, PushesEvents)
        },
        event_keys=runtime.destinations.published_keys,
        event_memory=api_clients.event_memory(settings),
        client_cert_systems=api_clients.client_certificate_systems(settings),
        destinations={*settings.ticket_systems, *settings.witboost},
        public_url=settings.public_url,
        hook_path=settings.listen.path,
        limits=Limits(body=limits.body, depth=limits.depth, body_deadline=limits.body_deadline),
        backpressure=BackpressurePolicy(
            limit=limits.backlog, slow_from=limits.slow_from, slowest=limits.slowest
        ),
        concurrency=concurrency,
        trusted_proxies=trusted_proxies(settings),
        denied_calls=DeniedCalls(runtime.streams, runtime.metrics),
        receipts=Receipts(runtime.audit_keys.signer, settings.public_url),
        published_keys=runtime.audit_keys.published,
        workers=runtime.supervisor,
        metrics=runtime.metrics,
        alarms=runtime.alarms,
        alarm_board=runtime.alarm_board,
        clock=runtime.clock,
        access_log=settings.logs.access,
    )
