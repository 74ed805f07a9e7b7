"""What this program counts and measures, for Prometheus; durations in seconds, as its users expect.

Labels come from the settings and from our own lists, never from a caller, so their number stays
small.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

TEXT: Final = CONTENT_TYPE_PLAIN_0_0_4
_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Every metric, on a registry of its own: one object per program, none in the module.

    Attributes:
        answers: answers given, by route (its path as we declare it, or none) and code.
        answer_seconds: how long they took, by route.
        events: events by ticket system and result: taken, repeated, refused, unusable.
        requests: approval requests by state; the backlog task sets it.
        due_lag: seconds by which the earliest due time is past; 0 means nothing waits.
        step_seconds: steps of the flow, by the state that they begin in.
        call_seconds: outgoing calls, by destination and outcome; its count counts them.
        alarms: alarms by code.
        audit_unsealed: audit entries that the sealer found waiting at its last look.
        refused: calls that proved too little, by route.
        cut: connections that were cut: too_many, too_many_of_client, silent.
        paused: 1 for a destination that is paused, by cause; 0 for one that is in use again.
    """

    def __init__(self) -> None:
        # a time of creation beside every series would double their number
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        self.answers = self._counter("answers", "Answers given", "route", "code")
        self.answer_seconds = self._histogram("answer", "Time to answer", _FAST, "route")
        self.events = self._counter("events", "Ticket events", "system", "result")
        self.requests = self._gauge("requests", "Approval requests", "state")
        self.due_lag = self._gauge("due_lag_seconds", "Age of the earliest due time in the past")
        self.step_seconds = self._histogram("step", "Steps of the flow", _SLOW, "state")
        self.call_seconds = self._histogram(
            "call", "Outgoing calls", _SLOW, "destination", "outcome"
        )
        self.alarms = self._counter("alarms", "Alarms", "alarm")
        self.audit_unsealed = self._gauge("audit_unsealed", "Audit entries found unsealed at once")
        self.cut = self._counter("connections_cut", "Connections cut", "reason")
        self.refused = self._counter("refused", "Calls refused for want of proof", "route")
        self.paused = self._gauge("paused", "Paused destinations", "destination", "cause")

    def text(self) -> bytes:
        """Return everything in the text format, version 0.0.4."""
        return generate_latest(self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"approval_proxy_{name}", says, labels, registry=self.registry)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"approval_proxy_{name}", says, labels, registry=self.registry)

    def _histogram(
        self, name: str, says: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        full = f"approval_proxy_{name}_seconds"
        return Histogram(full, says, labels, buckets=buckets, registry=self.registry)
