"""The metrics of one process, or of one and its worker processes, told apart by a label."""

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


def scraped(metrics: Metrics, workers: Mapping[str, bytes]) -> bytes:
    """Return everything in the text format, version 0.0.4; `workers` are the texts of processes.

    Where there are any, each series says which process counted it. What a gauge of ours says of
    the store, this process says for all.
    """
    if not workers:
        return metrics.text()
    merged: dict[str, Metric] = {}
    _add(merged, metrics.registry.collect(), MAIN)
    for name, text in workers.items():
        families = text_string_to_metric_families(text.decode())
        _add(merged, (it for it in families if not _is_of_store(it)), name)
    whole = CollectorRegistry(auto_describe=False)
    whole.register(_Merged(merged.values()))
    return generate_latest(whole)


class _Merged(Collector):
    """The families of several processes."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    @override
    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._families


def _is_of_store(family: Metric) -> bool:
    return family.type == "gauge" and family.name.startswith(_OURS)


def _add(merged: dict[str, Metric], families: Iterable[Metric], process: str) -> None:
    """Add what one process counted, under its name."""
    for family in families:
        whole = merged.setdefault(
            family.name, Metric(family.name, family.documentation, family.type)
        )
        for sample in family.samples:
            whole.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
