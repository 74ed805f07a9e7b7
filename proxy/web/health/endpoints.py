"""The health endpoints: liveness, readiness and metrics."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web

from proxy.domain.timestamps import rfc3339
from proxy.observability.metrics import TEXT, Metrics
from proxy.store.pauses import Cause
from proxy.web.health.metrics import merged_text
from proxy.web.health.store_monitor import StoreMonitor
from proxy.web.http.responses import json_response

_STORE: Final = (
    "The store does not answer: nothing can be accepted. Look at the Redis server and the network"
    " to it."
)
_EXPECTED_CAUSES: Final = (Cause.MAINTENANCE, Cause.RATE_LIMITED)
_ORIGIN: Final = r"\1"
_BELOW_ORIGIN: Final = re.compile(r"(https?://[^/\s]+)/\S*?(?=[:,)]*(?:\s|$))")


class WorkerProcesses(Protocol):
    """The worker processes of this process, if it has any; `app.processes` starts them."""

    @property
    def down(self) -> Mapping[str, str]:
        """The processes that ended and do not work again yet, each with the reason."""
        ...

    async def metrics(self) -> Mapping[str, bytes]:
        """Return the metrics of each process in the text format."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Answers orchestrators and Prometheus, without a key and without a call to the store."""

    monitor: StoreMonitor
    workers: WorkerProcesses
    metrics: Metrics

    async def alive(self, _request: web.Request) -> web.Response:
        """Answer 200: the event loop runs."""
        return json_response({"status": "alive"})

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 503 while nothing can be accepted.

        A paused destination, or a worker process that ended, makes us degraded, not unready: hook
        calls are still accepted, and taking every replica out of service would not repair it. A
        destination that an operator paused, or that limits our rate, is only named.
        Of a URL only the origin is shown: its path may name a request, or be where witboost accepts
        a decision.
        """
        paused = self.monitor.paused
        reasons = [
            f"{name} is paused ({pause.cause}) since {rfc3339(pause.since)}:"
            f" {_BELOW_ORIGIN.sub(_ORIGIN, pause.reason)}"
            for name, pause in sorted(paused.items())
        ]
        degraded = any(pause.cause not in _EXPECTED_CAUSES for pause in paused.values())
        if down := self.workers.down:
            degraded = True
            reasons += down.values()
        if self.monitor.stale:
            body = {"status": "unavailable", "reasons": [_STORE, *reasons]}
            return json_response(body, HTTPStatus.SERVICE_UNAVAILABLE)
        return json_response({"status": "degraded" if degraded else "ready", "reasons": reasons})

    async def metrics_text(self, _request: web.Request) -> web.Response:
        """Answer the metrics in the text format of Prometheus."""
        body = merged_text(self.metrics, await self.workers.metrics())
        return web.Response(body=body, headers={"Content-Type": TEXT})
