"""The program: every object that web, worker and command line share, and what is made of them."""

import functools
import secrets
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy.app import api_clients
from proxy.app.destinations import prefixes
from proxy.app.open_store import open_sink
from proxy.app.processes.share import WorkerShare
from proxy.app.processes.supervisor import WorkerSupervisor
from proxy.audit.credentials import Credentials
from proxy.audit.denied_calls import DeniedCalls
from proxy.audit.receipts import Receipts
from proxy.audit.sealer import AuditKeys, Sealer
from proxy.change_poller import ChangePoller
from proxy.domain.clock import Clock
from proxy.engine.operator_actions import OperatorActions
from proxy.flow import Flow
from proxy.net.addresses import read_networks
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.settings import Settings
from proxy.settings.credentials import credential_digests
from proxy.settings.listen import Listen, Listener
from proxy.store.audit_streams import AuditStreams
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.pauses import PauseStore
from proxy.store.recent_alarms import AlarmBoard
from proxy.store.requests import RequestStore
from proxy.tickets.events.jwks import PublishedKeys
from proxy.tickets.port import PushesEvents, TicketSystem
from proxy.web.app import EVENTS, OPERATORS, PARTS, build_application
from proxy.web.backpressure import BackpressurePolicy
from proxy.web.context import Limits, WebContext
from proxy.web.http.connections import ConnectionLimits
from proxy.web.http.trusted_proxies import TrustedProxies
from proxy.worker import Worker

_SHARE: Final = 32  # requests worked on for each hook call that is taken in at the same time


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs: every object that web, worker and command line need."""

    settings: Settings
    share: WorkerShare
    clock: Clock
    store: RequestStore
    pause_store: PauseStore
    flow: Flow
    operations: OperatorActions
    alarms: Alarms
    board: AlarmBoard
    metrics: Metrics
    systems: Mapping[str, TicketSystem]
    event_keys: Mapping[str, PublishedKeys]
    changes: ChangePoller
    streams: AuditStreams
    seals: AuditKeys
    server: EmbeddedServer | None
    crew: WorkerSupervisor

    def worker(self) -> Worker:
        """Return a worker; it does nothing before it is told to run."""
        work = self.settings.worker
        return Worker(
            name=f"{socket.gethostname()}-{secrets.token_hex(4)}",
            store=self.store,
            flow=self.flow,
            alarms=self.alarms,
            clock=self.clock,
            concurrency=self.share.portion(work.concurrency),
            lease=work.lease,
            margin=work.margin,
            own=self.share.own_partitions(self.store.keys.tags()),
        )

    def working(self) -> Worker | WorkerSupervisor:
        """Return what works: worker processes, or this one."""
        return self.crew if self.settings.worker.processes else self.worker()

    @property
    def peers(self) -> TrustedProxies:
        """Who may say for whom they call."""
        return TrustedProxies(read_networks(self.settings.listen.trusted_proxies))

    @property
    def receipts(self) -> Receipts:
        """What signs receipts of decisions."""
        return Receipts(self.seals.signer, self.settings.public_url)

    def sealer(self) -> Sealer:
        """Return what writes the audit down, one process at a time."""
        audit = self.settings.audit
        return Sealer(
            streams=self.streams,
            sink=open_sink(self.settings),
            seals=self.seals,
            alarms=self.alarms,
            metrics=self.metrics,
            clock=self.clock,
            every=audit.every,
            retention=audit.retention,
        )

    def credentials(self) -> Credentials | None:
        """Return what notes changes of credentials; without a key, their digests cannot be kept."""
        if self.seals.ring is None:
            return None
        return Credentials(
            store=self.store,
            streams=self.streams,
            ring=self.seals.ring,
            read=functools.partial(credential_digests, self.settings),
            by=f"settings on {socket.gethostname()}",
        )

    def health(self) -> web.Application:
        """Return the web application of a process that only works."""
        return build_application(self._web_context(), parts=())

    def listeners(self, *, working: bool) -> list[tuple[Listen | Listener, web.Application]]:
        """Return each place to listen at, with what is served there; see `listener`."""
        listen = self.settings.listen
        moved = {part: place for part in (EVENTS, OPERATORS) if (place := getattr(listen, part))}
        main = self.listener(frozenset(PARTS - moved.keys()), working=working)
        return [(listen, main)] + [
            (it, self.listener({part}, working=working)) for part, it in moved.items()
        ]

    def bounds(self) -> ConnectionLimits:
        """Return what connections to a listener are bounded by."""
        limits = self.settings.limits
        return ConnectionLimits(
            connections=limits.connections,
            per_client=limits.connections_per_client,
            first_request=limits.first_request,
            idle=limits.idle,
        )

    def listener(self, parts: Collection[str] = PARTS, *, working: bool = False) -> web.Application:
        """Return the web application with the routes of these parts.

        Where the same process is `working` as well, it takes in a few calls at a time, and a few
        events. A step of a request is a dozen turns of the event loop, and each of them waits for a
        turn of every call that is being taken in: with one call for each connection, what was
        accepted would wait ever longer (64 connections: a fifth of the callbacks in the same time).
        """
        concurrency = max(1, self.settings.worker.concurrency // _SHARE) if working else None
        return build_application(self._web_context(concurrency), parts)

    def _web_context(self, concurrency: int | None = None) -> WebContext:
        settings, limits = self.settings, self.settings.limits
        return WebContext(
            flow=self.flow,
            operator_actions=self.operations,
            store=self.store,
            pause_store=self.pause_store,
            clients=api_clients.clients(settings),
            operators=api_clients.operators(settings),
            callback_prefixes={name: prefixes(it) for name, it in settings.witboost.items()},
            event_systems={n: it for n, it in self.systems.items() if isinstance(it, PushesEvents)},
            event_keys=self.event_keys,
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
            trusted_proxies=self.peers,
            denied_calls=DeniedCalls(self.streams, self.metrics),
            receipts=self.receipts,
            published_keys=self.seals.published,
            workers=self.crew,
            metrics=self.metrics,
            alarms=self.alarms,
            alarm_board=self.board,
            clock=self.clock,
            access_log=settings.logs.access,
        )
