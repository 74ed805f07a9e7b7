"""The listener as the program runs it: real store, real flow, a real socket."""

import logging
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from typing_extensions import override
from yarl import URL

from proxy.audit.denied_calls import DeniedCalls
from proxy.audit.receipts import Receipts
from proxy.domain.route import Route
from proxy.engine.context import Policy, StepContext
from proxy.engine.operator_actions import OperatorActions
from proxy.engine.pauses import Pauses
from proxy.engine.routes import Routes
from proxy.flow import Flow
from proxy.net.urls import CallbackPrefix
from proxy.observability.alarms import Alarms
from proxy.observability.logs import JsonFormatter
from proxy.observability.metrics import Metrics
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.security.signing import key_set
from proxy.store.audit_streams import AuditStreams
from proxy.store.pauses import PauseStore
from proxy.store.recent_alarms import RecentAlarms
from proxy.store.requests import RequestStore
from proxy.store.routes import CallbackMethods, RouteStore
from proxy.web.app import PARTS, build_application
from proxy.web.auth import Caller, Client, Clients, hash_key
from proxy.web.context import WebContext
from proxy.web.http.trusted_proxies import TrustedProxies
from proxy.witboost.callback import Witboost
from tests.support.manual_clock import ManualClock
from tests.support.web_desk import Desk

PUBLIC_URL = "https://approval.example.com/base"

WITBOOST_KEY = "ap_witboost-canary"
SECOND_KEY = "ap_second-canary"
OTHER_KEY = "ap_other-canary"
OPERATOR_KEY = "ap_operator-canary"
CALLBACK = "https://witboost.example.com/api/actionHandler/"


@dataclass
class Site:
    """A listener that runs, and what lies behind it."""

    base: URL
    session: aiohttp.ClientSession
    store: RequestStore
    desk: Desk
    metrics: Metrics
    board: RecentAlarms

    async def call(
        self, method: str, path: str, *, key: str | None = None, **kwargs: Any
    ) -> "Answered":
        """Make one call; the whole answer is read."""
        headers = dict(kwargs.pop("headers", {}))
        if key is not None:
            headers["X-API-Key"] = key
        async with self.session.request(
            method, self.base.join(URL(path)), headers=headers, **kwargs
        ) as response:
            text = await response.read()
            return Answered(response.status, response.headers, text)

    async def submit(self, **changes: Any) -> "Answered":
        """Send a hook call as witboost does, with changes."""
        body = changes.pop("body", None)
        fields = changes.pop("fields", {"identities": ["ann"], "verb": "grant"})
        hook = changes.pop("hook", uuid.uuid4().hex)
        if body is None:
            body = {"respondToUrl": changes.pop("url", CALLBACK + hook), "fields": fields}
        headers: dict[str, str | None] = {
            "X-Request-ID": str(uuid.uuid4()),
            "Content-Type": "application/json",
        }
        headers |= changes.pop("headers", {})
        sent = body if isinstance(body, bytes) else orjson.dumps(body)
        key = changes.pop("key", WITBOOST_KEY)
        path = changes.pop("path", "/approval-requests")
        given = {name: value for name, value in headers.items() if value is not None}
        return await self.call("POST", path, key=key, data=sent, headers=given, **changes)


@dataclass(frozen=True)
class Answered:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def taken(self) -> str:
        """The correlation id of a 202."""
        assert self.status == 202, self.body
        return str(self.json["hookInfo"]["correlationId"])

    def refused(self, status: int, naming: str) -> None:
        """Check that this is a problem of this status that names something."""
        assert self.status == status, self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        problem = self.json
        assert problem["type"] == "about:blank"
        assert problem["status"] == status
        said = problem["errors"] if status == 400 else [problem["error"]]
        assert any(naming in sentence for sentence in said), said


@dataclass
class Collected(logging.Handler):
    """Every log line of a test, as the program would write it."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    text: bytes = b""

    def __post_init__(self) -> None:
        super().__init__()
        self._json = JsonFormatter()

    __hash__ = logging.Handler.__hash__

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = self._json.line(record)
        self.text += line
        self.lines.append(orjson.loads(line))

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == logger]


@pytest.fixture
def logged() -> Iterator[Collected]:
    collected = Collected()
    root, own = logging.getLogger(), logging.getLogger("proxy")
    before = root.level, own.level
    root.addHandler(collected)
    root.setLevel(logging.DEBUG)
    own.setLevel(logging.DEBUG)
    yield collected
    root.removeHandler(collected)
    root.setLevel(before[0])
    own.setLevel(before[1])


class Workers:
    """Worker processes that a test plays: those that are down, and the metrics of each."""

    def __init__(
        self, down: Mapping[str, str] | None = None, texts: Mapping[str, bytes] | None = None
    ) -> None:
        self.down = down or {}
        self._texts = texts or {}

    async def metrics(self) -> Mapping[str, bytes]:
        return self._texts


Starts = Callable[..., Awaitable[Site]]


@pytest.fixture
def built() -> list[web.Application]:
    """The applications that `start` has built."""
    return []


@pytest.fixture
async def start(
    store: RequestStore, clock: ManualClock, built: list[web.Application]
) -> AsyncIterator[Starts]:
    """Starts listeners with settings that a test chooses."""
    async with AsyncExitStack() as stack:

        async def start_site(**changes: Any) -> Site:
            outbound = await stack.enter_async_context(Outbound(loopback=True))
            site, server = await _site(store, clock, outbound, changes)
            built.append(server.app)
            stack.push_async_callback(server.close)
            await stack.enter_async_context(site.session)
            return site

        yield start_site


@pytest.fixture
async def site(start: Starts) -> Site:
    return await start()


async def _site(
    store: RequestStore, clock: ManualClock, outbound: Outbound, changes: dict[str, Any]
) -> tuple[Site, TestServer]:
    metrics = Metrics()
    alarms = Alarms(metrics)
    pause_store, desk, board = PauseStore(store), Desk(), RecentAlarms(store, alarms)
    pauses = Pauses(store=pause_store, alarms=alarms, clock=clock, share=1)
    means = StepContext(store, pauses, alarms, metrics, Policy(), lambda: 0.5)
    routes = Routes(
        rules=[], otherwise=_route(), store=RouteStore(store), open_system=lambda _route: desk
    )
    await routes.publish()
    prefixes = {
        "main": [CallbackPrefix.parse(CALLBACK)],
        "other": [CallbackPrefix.parse("https://other.example.com/hooks")],
    }
    reuse = changes.pop("reuse_after_final", True)
    memory = CallbackMethods(store, "settings")
    instances = {name: _witboost(name, outbound, memory, reuse=reuse) for name in prefixes}
    parts: dict[str, Any] = {
        "flow": Flow(context=means, routes=routes, instances=instances),
        "operator_actions": OperatorActions(store=store, routes=routes),
        "store": store,
        "pause_store": pause_store,
        "clients": _clients(),
        "operators": Clients([_client("olga", "", OPERATOR_KEY)]),
        "callback_prefixes": prefixes,
        "event_systems": {"desk": desk},
        "event_keys": {},
        "event_memory": 600_000,
        "client_cert_systems": (),
        "destinations": {"desk", "main"},
        "public_url": PUBLIC_URL,
        "trusted_proxies": TrustedProxies(),
        "denied_calls": DeniedCalls(AuditStreams(store), metrics),
        "receipts": Receipts(None, PUBLIC_URL),
        "published_keys": _published,
        "workers": Workers(),
        "metrics": metrics,
        "alarms": alarms,
        "alarm_board": board,
        "clock": clock,
    }
    served = changes.pop("parts", PARTS)
    server = TestServer(build_application(WebContext(**(parts | changes)), served))
    await server.start_server()
    session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
    return Site(server.make_url("/"), session, store, desk, metrics, board), server


async def _published() -> bytes:
    return key_set({})


def _witboost(name: str, outbound: Outbound, memory: CallbackMethods, *, reuse: bool) -> Witboost:
    """An instance that nobody calls back here."""
    http = outbound.destination(
        name, origins=[], deadline=1_000, concurrency=1, credential=NoCredential()
    )
    return Witboost(
        name=name, http=http, method="auto", memory=memory, prefixes=[], reuse_after_final=reuse
    )


@pytest.fixture
async def unreachable() -> AsyncIterator[RequestStore]:
    """A store whose server is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = taken.getsockname()[1]
        client = Redis(port=port, retry=Retry(NoBackoff(), 0), socket_connect_timeout=1)
        yield RequestStore(client, namespace="gone", partitions=2)
        await client.aclose()


def _client(name: str, instance: str, *keys: str) -> Client:
    return Client(Caller(name, instance, role="admin"), dict.fromkeys(map(hash_key, keys)))


def _clients() -> Clients:
    return Clients(
        [
            _client("witboost", "main", WITBOOST_KEY, SECOND_KEY),
            _client("neighbour", "other", OTHER_KEY),
        ]
    )


def _route() -> Route:
    return Route(
        name="default",
        system="desk",
        decision_deadline=86_400_000,
        on_deadline="reject",
        callback_on="decision",
        fulfilment_deadline=86_400_000,
        on_fulfilment_deadline="hold",
        on_refusal="dead",
    )
