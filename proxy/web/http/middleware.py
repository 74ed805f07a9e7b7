"""What every call passes: ids for the log, one line in the access log, errors into answers.

One middleware does it all, because each further one costs every hook call.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Collection
from time import perf_counter
from typing import Any, Final

from aiohttp import web
from prometheus_client import Counter

from proxy.observability import logs
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics, Series
from proxy.web.http import protocol
from proxy.web.http.responses import EXPECTED, refusal

CLIENT: Final = web.RequestKey("client", str)
DENIED: Final = web.RequestKey("denied", bool)
"""Whether a caller may not do this, where the status does not say so."""
_REQUEST_ID: Final = "X-Request-ID"
_USABLE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_PATH: Final = 200
_GONE: Final = 499  # the caller hung up before the answer; nginx's number, in the log alone
_REFUSED: Final = (401, 403)
_QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})

_access: Final = logging.getLogger("proxy.access")
_log: Final = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Middleware:
    """Answers, counts and logs; `contract` are the paths that know no status but 500 for later.

    `refused` is told of each call that proved too little: its route, then a sample's fields.
    `remote` tells the address of a call's client.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        alarms: Alarms,
        contract: Collection[str],
        access: bool,
        refused: Callable[..., None] = lambda _route, **_sample: None,
        remote: Callable[[web.Request], str] = lambda request: request.remote or "",
    ) -> None:
        self._metrics = metrics
        self._alarms = alarms
        self._contract = contract
        self._access = access
        self._refused = refused
        self._remote = remote
        self._series: dict[tuple[str, int], tuple[Counter, Series]] = {}

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a call, as aiohttp wants a middleware to."""
        started = perf_counter()
        given = request.headers.get(_REQUEST_ID, "")
        request_id = given if _USABLE.fullmatch(given) else str(uuid.uuid4())
        logs.request_id.set(request_id)
        status, error = _GONE, ""
        try:
            response = await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as raised:  # noqa: BLE001 - the border: nothing may leak
            error = self._explain(request, raised)
            later = 500 if request.path in self._contract else 503
            response = refusal(raised, unavailable=later)
            status = response.status
            if not request.content.is_eof():
                response.force_close()  # what remains of the body is not worth reading
        else:
            status = response.status
        finally:
            self._note(request, status, perf_counter() - started, error)
        response.headers[_REQUEST_ID] = request_id
        response.headers["Server"] = protocol.SERVER
        # answers that are ready together then leave together, and the peer wakes up once for them
        await asyncio.sleep(0)
        return response

    def _explain(self, request: web.Request, error: Exception) -> str:
        if isinstance(error, EXPECTED):
            return str(error)
        _log.error("Unexpected error at %s", _place(request), exc_info=error)
        kind = type(error).__name__
        self._alarms.sound(
            Alarm.UNEXPECTED_ERROR,
            f"{_place(request)} failed with {kind}: the line before this one has the traceback."
            " Report it; callers were told to try again.",
            correlation_id=logs.correlation_id.get(),
        )
        return kind

    def _note(self, request: web.Request, status: int, seconds: float, error: str) -> None:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "none"
        series = self._series.get((route, status))
        if series is None:
            series = self._series[route, status] = (
                self._metrics.answers.labels(route, status),
                self._metrics.answer_seconds.labels(route),
            )
        series[0].inc()
        series[1].observe(seconds)
        if status in _REFUSED or request.get(DENIED, False):
            sample = {"path": request.path[:_LONGEST_PATH], "client": request.get(CLIENT, "")}
            self._refused(route, remote=self._remote(request), error=error, **sample)
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if self._access and _access.isEnabledFor(level):
            self._line(request, level, status, seconds, error)

    def _line(
        self, request: web.Request, level: int, status: int, seconds: float, error: str
    ) -> None:
        path = request.path[:_LONGEST_PATH]
        fields: dict[str, Any] = {
            "method": request.method,
            "path": path,
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
            "remote": self._remote(request),
            "client": request.get(CLIENT, ""),
        }
        if error:
            fields["error"] = error
        says = f"{request.method} {path} {status}"
        if level == logging.INFO:
            logs.info(_access, says, fields)
        else:
            _access.log(level, "%s", says, extra=fields)


def _place(request: web.Request) -> str:
    return f"{request.method} {request.path[:_LONGEST_PATH]}"
