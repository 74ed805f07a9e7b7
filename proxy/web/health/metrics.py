"""The metrics of a process and its worker processes, distinguished by the label `process`."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from typing_extensions import override

from proxy.observability.logs import MAIN
from proxy.observability.metrics import Metrics

_OURS: Final = "approval_proxy_"


def merged_text(metrics: Metrics, workers: Mapping[str, bytes]) -> bytes:
    """Return all metrics in the text format 0.0.4; `workers` holds the text of each process.

    If there are worker processes, each series has a label with the process that counted it. Our
    gauges describe the store, so they are taken from this process alone.
    """
    if not workers:
        return metrics.text()
    merged: dict[str, Metric] = {}
    _add(merged, metrics.registry.collect(), MAIN)
    for name, text in workers.items():
        families = text_string_to_metric_families(text.decode())
        _add(merged, (family for family in families if not _describes_store(family)), name)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(merged.values()))
    return generate_latest(registry)


class _Merged(Collector):
    """The families of several processes."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    @override
    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


def _describes_store(family: Metric) -> bool:
    return family.type == "gauge" and family.name.startswith(_OURS)


def _add(merged: dict[str, Metric], families: Iterable[Metric], process: str) -> None:
    """Add the samples of one process, labelled with its name."""
    for family in families:
        whole = merged.setdefault(
            family.name, Metric(family.name, family.documentation, family.type)
        )
        for sample in family.samples:
            whole.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
