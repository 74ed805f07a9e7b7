"""Calls without a sufficient credential or permission: counted, with a few samples in the audit.

A flood of them stays cheap: one audit entry per route and interval, however many calls it counts.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import ProxyError
from proxy.observability.metrics import Metrics
from proxy.store.audit_streams import AuditStreams

EVERY: Final = 10.0
"""Seconds between two audit entries of a route."""

_SAMPLES: Final = 3
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tally:
    """Denied calls of one route since the last audit entry."""

    count: int = 0
    samples: list[Mapping[str, str]] = field(default_factory=list)
    """Details of the first of them."""


class DeniedCalls:
    """Counts denied calls by route, and reports them to metrics and audit."""

    def __init__(self, streams: AuditStreams, metrics: Metrics) -> None:
        self._streams = streams
        self._metrics = metrics
        self._tallies: dict[str, _Tally] = {}

    def count(self, route: str, **sample: str) -> None:
        """Count one denied call; the first of each route are kept as samples."""
        self._metrics.refused.labels(route).inc()
        tally = self._tallies.setdefault(route, _Tally())
        tally.count += 1
        if len(tally.samples) < _SAMPLES:
            tally.samples.append(sample)

    async def flush(self) -> None:
        """Write the counts into the audit; those that cannot be written are kept."""
        for route in list(self._tallies):
            tally = self._tallies.pop(route)
            entry = {
                "event": "Refused",
                "route": route,
                "count": tally.count,
                "samples": tally.samples,
            }
            try:
                await self._streams.append("refused", entry)
            except ProxyError as error:
                later = self._tallies.setdefault(route, _Tally())
                later.count += tally.count
                later.samples = (tally.samples + later.samples)[:_SAMPLES]
                _log.info("Denied calls could not be written into the audit: %s", error)

    async def running(self, _app: object) -> AsyncIterator[None]:
        """Write the counts repeatedly while the application runs, and at its end (cleanup_ctx)."""
        task = asyncio.create_task(self._run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await self.flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()
