"""Pages for machines: alive, ready, metrics, and the description of every route."""

import json
import re
from importlib.resources import files
from typing import Any, Final

from aiohttp import web

from proxy.observability.metrics import TEXT, Metrics
from proxy.store.pauses import Cause
from proxy.web.health.metrics import scraped
from proxy.web.health.store_monitor import StoreMonitor
from proxy.web.http.limits import Crew
from proxy.web.http.responses import json_answer
from proxy.web.operator_api.views import rfc3339

_STORE: Final = (
    "The store does not answer: nothing can be accepted. Look at the Redis server and the network"
    " to it."
)
_ORIGIN: Final = r"\1"
_BELOW_ORIGIN: Final = re.compile(r"(https?://[^/\s]+)/\S*?(?=[:,)]*(?:\s|$))")


class Health:
    """Answers whoever runs us, without a key and without touching the store."""

    def __init__(
        self, *, watch: StoreMonitor, crew: Crew, metrics: Metrics, hook_path: str
    ) -> None:
        self._watch = watch
        self._crew = crew
        self._metrics = metrics
        self._description = description(hook_path)

    async def alive(self, _request: web.Request) -> web.Response:
        """Answer 200: whoever gets this answer knows that the loop runs."""
        return json_answer({"status": "alive"})

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 503 while nothing can be accepted.

        A paused destination, or a worker process that ended, makes us degraded, not unready: hook
        calls are still accepted, and taking every replica out of service would not repair it. A
        destination that an operator paused, or that asked for a pause, is named and nothing more.
        Of URLs the origin is told: a path may name a request, or be where witboost takes its
        status.
        """
        reasons = [
            f"{name} is paused ({pause.cause}) since {rfc3339(pause.since)}:"
            f" {_BELOW_ORIGIN.sub(_ORIGIN, pause.reason)}"
            for name, pause in sorted(self._watch.paused.items())
        ]
        wanted = (Cause.MAINTENANCE, Cause.RATE_LIMITED)
        degraded = any(pause.cause not in wanted for pause in self._watch.paused.values())
        if down := self._crew.down:
            degraded = True
            reasons += down.values()
        if self._watch.stale:
            return _readiness("unavailable", [_STORE, *reasons], 503)
        return _readiness("degraded" if degraded else "ready", reasons, 200)

    async def measured(self, _request: web.Request) -> web.Response:
        """Answer the metrics as Prometheus reads them."""
        body = scraped(self._metrics, await self._crew.metrics())
        return web.Response(body=body, headers={"Content-Type": TEXT})

    async def described(self, _request: web.Request) -> web.Response:
        """Answer the OpenAPI description (media type: RFC 9512)."""
        return web.Response(body=self._description, headers={"Content-Type": "application/yaml"})


def description(hook_path: str) -> bytes:
    """Return the OpenAPI description, with the hook's configured path where it is another one."""
    text = (files("proxy.web") / "openapi.yaml").read_text()
    if hook_path not in {"/", "/approval-requests"}:
        # `paths` is the file's last section
        text += f"  {json.dumps(hook_path)}:\n    $ref: '#/paths/~1'\n"
    return text.encode()


def _readiness(status: str, reasons: list[str], code: int) -> web.Response:
    body: dict[str, Any] = {"status": status, "reasons": reasons}
    return json_answer(body, code)
