"""Calls that proved too little, or wanted what is others': counted, a few kept for the audit.

A flood of them stays cheap: one entry per route and look, whatever it stands for.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from proxy.errors import ProxyError
from proxy.observability.metrics import Metrics

EVERY: Final = 10.0
"""Seconds between two notes."""

_SAMPLES: Final = 3
_log: Final = logging.getLogger(__name__)


class Notes(Protocol):
    """The part of the audit that takes entries which are about no request."""

    async def note(self, about: str, entry: Mapping[str, Any]) -> bool:
        """Append an entry."""
        ...


@dataclass(slots=True)
class _Tally:
    count: int = 0
    samples: list[Mapping[str, str]] = field(default_factory=list)


class DeniedCalls:
    """What was refused since the last note, by route."""

    def __init__(self, notes: Notes, metrics: Metrics) -> None:
        self._notes = notes
        self._metrics = metrics
        self._tallies: dict[str, _Tally] = {}

    def count(self, route: str, **sample: str) -> None:
        """Count one refused call; the first ones of a route are kept as samples."""
        self._metrics.refused.labels(route).inc()
        tally = self._tallies.setdefault(route, _Tally())
        tally.count += 1
        if len(tally.samples) < _SAMPLES:
            tally.samples.append(sample)

    async def flush(self) -> None:
        """Note what was counted; what cannot be noted now is counted on."""
        for route in list(self._tallies):
            tally = self._tallies.pop(route)
            entry = {
                "event": "Refused",
                "route": route,
                "count": tally.count,
                "samples": tally.samples,
            }
            try:
                await self._notes.note("refused", entry)
            except ProxyError as error:
                later = self._tallies.setdefault(route, _Tally())
                later.count += tally.count
                later.samples = (tally.samples + later.samples)[:_SAMPLES]
                _log.info("Refused calls could not be noted: %s", error)

    async def running(self, _app: object) -> AsyncIterator[None]:
        """Note again and again while the application runs, and once at the end (cleanup_ctx)."""
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
