"""The middleware of every request: log ids, metrics, access log, exceptions into responses.

There is one middleware for all of it, because each one costs time in every hook call.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final

from aiohttp import web
from prometheus_client import Counter

from proxy.audit.denied_calls import DeniedCalls
from proxy.observability import logs
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics, Series
from proxy.web.http import protocol
from proxy.web.http.responses import EXPECTED, error_response
from proxy.web.http.trusted_proxies import TrustedProxies

CLIENT: Final = web.RequestKey("client", str)
DENIED: Final = web.RequestKey("denied", bool)
"""True if the caller was denied something and the status does not show it."""
_REQUEST_ID: Final = "X-Request-ID"
_VALID_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_PATH: Final = 200
_CLIENT_CLOSED: Final = 499  # nginx's code for a client that hung up; only in log and metrics
_DENIED_STATUSES: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_DEBUG_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})

_access: Final = logging.getLogger("proxy.access")
_log: Final = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Middleware:
    """Handles every request of a listener."""

    metrics: Metrics
    alarms: Alarms
    contract: Collection[str]
    """The paths whose contract has 500 where the others answer 503."""
    access_log: bool
    denied_calls: DeniedCalls
    trusted_proxies: TrustedProxies
    _series: dict[tuple[str, int], tuple[Counter, Series]] = field(default_factory=dict, init=False)

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request (the signature of an aiohttp middleware)."""
        started = perf_counter()
        sent_id = request.headers.get(_REQUEST_ID, "")
        request_id = sent_id if _VALID_ID.fullmatch(sent_id) else str(uuid.uuid4())
        logs.request_id.set(request_id)
        status, error = _CLIENT_CLOSED, ""
        try:
            response = await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as raised:  # noqa: BLE001 - the border: nothing may leak
            error = self._explain(request, raised)
            contract = request.path in self.contract
            later = HTTPStatus.INTERNAL_SERVER_ERROR if contract else HTTPStatus.SERVICE_UNAVAILABLE
            response = error_response(raised, unavailable=later)
            status = response.status
            if not request.content.is_eof():
                response.force_close()  # what remains of the body is not worth reading
        else:
            status = response.status
        finally:
            self._record(request, status, perf_counter() - started, error)
        response.headers[_REQUEST_ID] = request_id
        response.headers["Server"] = protocol.SERVER
        # responses that are ready together leave together, and the peer wakes up once for them
        await asyncio.sleep(0)
        return response

    def _explain(self, request: web.Request, error: Exception) -> str:
        if isinstance(error, EXPECTED):
            return str(error)
        _log.error("Unexpected error at %s", _target(request), exc_info=error)
        kind = type(error).__name__
        self.alarms.sound(
            Alarm.UNEXPECTED_ERROR,
            f"{_target(request)} failed with {kind}: the line before this one has the traceback."
            " Report it; the caller was asked to try again.",
            correlation_id=logs.correlation_id.get(),
        )
        return kind

    def _record(self, request: web.Request, status: int, seconds: float, error: str) -> None:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "none"
        series = self._series.get((route, status))
        if series is None:
            series = self._series[route, status] = (
                self.metrics.answers.labels(route, status),
                self.metrics.answer_seconds.labels(route),
            )
        series[0].inc()
        series[1].observe(seconds)
        if status in _DENIED_STATUSES or request.get(DENIED, False):
            sample = {"path": request.path[:_LONGEST_PATH], "client": request.get(CLIENT, "")}
            remote = self.trusted_proxies.client(request)
            self.denied_calls.count(route, remote=remote, error=error, **sample)
        level = logging.DEBUG if route in _DEBUG_ROUTES else logging.INFO
        if self.access_log and _access.isEnabledFor(level):
            self._log_access(request, level, status, seconds, error)

    def _log_access(
        self, request: web.Request, level: int, status: int, seconds: float, error: str
    ) -> None:
        path = request.path[:_LONGEST_PATH]
        fields: dict[str, Any] = {
            "method": request.method,
            "path": path,
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
            "remote": self.trusted_proxies.client(request),
            "client": request.get(CLIENT, ""),
        }
        if error:
            fields["error"] = error
        message = f"{request.method} {path} {status}"
        if level == logging.INFO:
            logs.info(_access, message, fields)
        else:
            _access.log(level, "%s", message, extra=fields)


def _target(request: web.Request) -> str:
    return f"{request.method} {request.path[:_LONGEST_PATH]}"
