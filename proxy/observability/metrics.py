"""The metrics of this program, for Prometheus; durations are in seconds, as is usual there.

Labels come from the settings and from our own lists, never from a caller, so that their number
stays small.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from time import perf_counter
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

TEXT: Final = CONTENT_TYPE_PLAIN_0_0_4
_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Series:
    """The histogram of one set of labels; only the event loop observes it, so it has no lock."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * len(bounds)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def time(self) -> "Timing":
        """Return a context manager that observes the duration of its block."""
        return Timing(self)


class Timing:
    """Observes the duration of its `with` block, also if it raises."""

    __slots__ = ("_series", "_since")

    def __init__(self, series: Series) -> None:
        self._series = series

    def __enter__(self) -> None:
        """Begin."""
        self._since = perf_counter()

    def __exit__(self, *_raised: object) -> None:
        """End."""
        self._series.observe(perf_counter() - self._since)


class Durations(Collector):
    """A histogram in seconds for each set of labels.

    The histogram of prometheus_client takes two locks and walks through its buckets at each
    observation; a request causes a dozen of them, 4 % of the cost of accepting it.
    """

    def __init__(
        self, name: str, help_text: str, bounds: Sequence[float], labels: Sequence[str]
    ) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._bounds = (*map(float, bounds), float("inf"))
        self._series: dict[tuple[str, ...], Series] = {}

    def labels(self, *values: str) -> Series:
        """Return the series of these labels, in their order."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Series(self._bounds)
        return series

    @override
    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the metric family for a scrape."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        names = [f"{bound}" for bound in self._bounds[:-1]] + ["+Inf"]
        for values, series in self._series.items():
            buckets = list(zip(names, accumulate(series.counts), strict=True))
            family.add_metric(values, buckets, series.total)
        yield family


class Metrics:
    """Every metric, on a registry of its own: one object per program, none in the module.

    Attributes:
        answers: responses sent, by route (its path template, or none) and status code.
        answer_seconds: time to respond, by route.
        events: events by ticket system and result: taken, repeated, refused, unusable.
        requests: approval requests by state; set by the store monitor.
        due_lag: age in seconds of the earliest due time that is past; 0 if nothing waits.
        step_seconds: steps of the flow, by the state in which they begin.
        call_seconds: outgoing calls, by destination and outcome.
        alarms: alarms by code.
        audit_unsealed: audit entries that were waiting when the sealer last looked.
        refused: unauthenticated or unauthorized calls, by route.
        cut: connections that we closed: too_many, too_many_of_client, silent.
        paused: 1 for a paused destination, by cause; 0 for one that has been resumed.
        worker_up: 1 for a running worker process, 0 while it is down.
    """

    def __init__(self) -> None:
        # a creation time for every series would double their number
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        self.answers = self._counter("answers", "Answers given", "route", "code")
        self.answer_seconds = self._durations("answer", "Time to answer", _FAST, "route")
        self.events = self._counter("events", "Ticket events", "system", "result")
        self.requests = self._gauge("requests", "Approval requests", "state")
        self.due_lag = self._gauge("due_lag_seconds", "Age of the earliest due time in the past")
        self.step_seconds = self._durations("step", "Steps of the flow", _SLOW, "state")
        self.call_seconds = self._durations(
            "call", "Outgoing calls", _SLOW, "destination", "outcome"
        )
        self.alarms = self._counter("alarms", "Alarms", "alarm")
        self.audit_unsealed = self._gauge("audit_unsealed", "Audit entries found unsealed at once")
        self.cut = self._counter("connections_cut", "Connections cut", "reason")
        self.refused = self._counter("refused", "Calls refused for want of proof", "route")
        self.paused = self._gauge("paused", "Paused destinations", "destination", "cause")
        self.worker_up = self._gauge("worker_up", "Whether a worker process works", "worker")

    def text(self) -> bytes:
        """Return all metrics in the text format, version 0.0.4."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"approval_proxy_{name}", help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"approval_proxy_{name}", help_text, labels, registry=self.registry)

    def _durations(
        self, name: str, help_text: str, bounds: tuple[float, ...], *labels: str
    ) -> Durations:
        durations = Durations(f"approval_proxy_{name}_seconds", help_text, bounds, labels)
        self.registry.register(durations)
        return durations
