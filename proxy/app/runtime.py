"""The running program: the objects that its web application and its workers share."""

import functools
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from proxy.app.destinations import Destinations
from proxy.app.open_store import store_url
from proxy.app.processes.share import WorkerShare
from proxy.app.processes.supervisor import WorkerSupervisor
from proxy.audit.credentials import Credentials
from proxy.audit.files import Folder, Sink, StandardOutput
from proxy.audit.sealer import AuditKeys, Sealer
from proxy.change_poller import ChangePoller
from proxy.domain.clock import Clock
from proxy.domain.schedule import Jitter
from proxy.engine.context import Policy, StepContext
from proxy.engine.operator_actions import OperatorActions
from proxy.engine.pauses import Pauses
from proxy.engine.routes import Routes
from proxy.flow import Flow
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.settings import Settings
from proxy.settings.effective import credential_digests
from proxy.store.audit_streams import AuditStreams
from proxy.store.changes import PollTurns
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.pauses import PauseStore
from proxy.store.recent_alarms import RecentAlarms
from proxy.store.requests import RequestStore
from proxy.tickets.port import ListsChanges, TicketSystem
from proxy.worker import Worker


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The objects of a running program, which its web application and its workers share."""

    settings: Settings
    share: WorkerShare
    clock: Clock
    jitter: Jitter
    store: RequestStore
    server: EmbeddedServer | None
    """The embedded server, in the process that has started it."""
    alarms: Alarms
    metrics: Metrics
    destinations: Destinations
    audit_keys: AuditKeys

    @cached_property
    def systems(self) -> Mapping[str, TicketSystem]:
        """The ticket systems by name."""
        return self.destinations.systems()

    @cached_property
    def routes(self) -> Routes:
        """The routes of requests."""
        return self.destinations.routes(self.store)

    @cached_property
    def pause_store(self) -> PauseStore:
        """The stored pauses, for the operator API."""
        return PauseStore(self.store)

    @cached_property
    def pauses(self) -> Pauses:
        """The pauses and the limits of destinations, for the steps of requests."""
        slots = max(1, self.share.portion(self.settings.worker.concurrency) * 3 // 4)
        return Pauses(store=self.pause_store, alarms=self.alarms, clock=self.clock, share=slots)

    @cached_property
    def flow(self) -> Flow:
        """The steps of requests."""
        interval = self.settings.worker.changes_every
        context = StepContext(
            store=self.store,
            pauses=self.pauses,
            alarms=self.alarms,
            metrics=self.metrics,
            policy=_policy(self.settings),
            jitter=self.jitter,
            identities=self.settings.identities.compiled(),
            change_list_intervals=dict.fromkeys(self._listing(), interval),
        )
        instances = self.destinations.instances(self.store)
        return Flow(context=context, routes=self.routes, instances=instances)

    def _listing(self) -> Mapping[str, ListsChanges]:
        systems = self.systems.items()
        return {name: system for name, system in systems if isinstance(system, ListsChanges)}

    @cached_property
    def operator_actions(self) -> OperatorActions:
        """The actions of operators."""
        return OperatorActions(store=self.store, routes=self.routes)

    @cached_property
    def streams(self) -> AuditStreams:
        """The audit entries that are not yet in a file."""
        return AuditStreams(self.store)

    @cached_property
    def alarm_board(self) -> RecentAlarms:
        """The latest alarms of all processes."""
        return RecentAlarms(self.store, self.alarms)

    @cached_property
    def supervisor(self) -> WorkerSupervisor:
        """The supervisor of the worker processes."""
        url = functools.partial(store_url, self.settings, self.server)
        return WorkerSupervisor(self.settings, url, self.alarms, self.metrics)

    @cached_property
    def change_poller(self) -> ChangePoller:
        """The poller of the systems that list changes."""
        return ChangePoller(
            systems=self._listing(),
            flow=self.flow,
            turns=PollTurns(self.store),
            pauses=self.pauses,
            alarms=self.alarms,
            interval=self.settings.worker.changes_every,
        )

    def worker(self) -> Worker:
        """Return a worker, which starts to work when it is run."""
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

    def workers(self) -> Worker | WorkerSupervisor:
        """Return the worker of this process, or the supervisor of worker processes."""
        return self.supervisor if self.settings.worker.processes else self.worker()

    def sealer(self) -> Sealer:
        """Return the writer of the audit, which works in one process at a time."""
        audit = self.settings.audit
        return Sealer(
            streams=self.streams,
            sink=self._sink(),
            seals=self.audit_keys,
            alarms=self.alarms,
            metrics=self.metrics,
            clock=self.clock,
            every=audit.every,
            retention=audit.retention,
        )

    def _sink(self) -> Sink | None:
        match self.settings.audit.to:
            case "folder":
                return Folder(self.settings.audit_folder)
            case "stdout":
                return StandardOutput()
            case "off":
                return None

    def credentials(self) -> Credentials | None:
        """Return the recorder of changed credentials; None without a key for their digests."""
        if self.audit_keys.ring is None:
            return None
        return Credentials(
            store=self.store,
            streams=self.streams,
            ring=self.audit_keys.ring,
            read=functools.partial(credential_digests, self.settings),
            by=f"settings on {socket.gethostname()}",
        )


def _policy(settings: Settings) -> Policy:
    retries = settings.retries
    return Policy(
        retention=settings.store.retention,
        create_for=retries.create,
        callback_for=retries.callback,
        refused_callback_for=retries.refused_callback,
        missing_reads=retries.missing_reads,
    )
