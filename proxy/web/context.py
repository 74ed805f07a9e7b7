"""The objects and limits that the request handlers share; `app.runtime` builds them once."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.audit.denied_calls import DeniedCalls
from proxy.audit.receipts import Receipts
from proxy.domain.clock import Clock
from proxy.engine.operator_actions import OperatorActions
from proxy.flow import Flow
from proxy.net.urls import CallbackPrefix
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.store.pauses import PauseStore
from proxy.store.recent_alarms import RecentAlarms
from proxy.store.requests import RequestStore
from proxy.tickets.events.jwks import PublishedKeys
from proxy.tickets.port import PushesEvents
from proxy.web.auth import Clients
from proxy.web.backpressure import BackpressurePolicy
from proxy.web.health.endpoints import WorkerProcesses
from proxy.web.http.trusted_proxies import TrustedProxies


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one request: sizes in bytes, times in milliseconds."""

    body: int = 262_144
    """Size of a hook call."""
    event: int = 65_536
    """Size of a ticket event."""
    depth: int = 32
    """Nesting of the JSON of a hook call."""
    body_deadline: int = 10_000
    """Time within which a body arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebContext:
    """The objects and limits that the request handlers share."""

    flow: Flow
    operator_actions: OperatorActions
    store: RequestStore
    pause_store: PauseStore
    clients: Clients
    """Clients of the hook API."""
    operators: Clients
    callback_prefixes: Mapping[str, Sequence[CallbackPrefix]]
    """The URLs that each witboost instance may be called back at."""
    event_systems: Mapping[str, PushesEvents]
    event_keys: Mapping[str, PublishedKeys]
    """The keys that events are signed with, of the systems that publish them."""
    event_memory: int
    """Milliseconds within which a repeated event is ignored."""
    client_cert_systems: Collection[str]
    """Ticket systems that prove themselves by a header that only a trusted proxy may write."""
    destinations: Collection[str]
    """Ticket systems and witboost instances: operators may pause them."""
    public_url: str
    hook_path: str = "/approval-requests"
    """One more path of the hook, in addition to `/` and `/approval-requests`."""
    limits: Limits = field(default_factory=Limits)
    backpressure: BackpressurePolicy = field(default_factory=BackpressurePolicy)
    concurrency: int | None = None
    """Hook calls, and events, that are processed at the same time; None for no limit."""
    trusted_proxies: TrustedProxies
    denied_calls: DeniedCalls
    receipts: Receipts
    published_keys: Callable[[], Awaitable[bytes]]
    """Return the JWK set of every key that ever signed a receipt."""
    workers: WorkerProcesses
    metrics: Metrics
    alarms: Alarms
    alarm_board: RecentAlarms
    clock: Clock
    access_log: bool = True
