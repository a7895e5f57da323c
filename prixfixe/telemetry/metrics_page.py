"""The metrics of one server as a page for Prometheus, encoded by prometheus_client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from prixfixe.telemetry.metrics_table import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.telemetry.metrics_series import Series
    from prixfixe.telemetry.metrics_table import Spec

__all__ = ["expose"]

PREFIX = "prixfixe_"


class _Collector(Collector):
    def __init__(self, series: dict[str, Series]) -> None:
        self._series = series

    def collect(self) -> Iterator[Metric]:
        for spec in TABLE:
            yield _family(spec, self._series[spec.name])


def _family(spec: Spec, series: Series) -> Metric:
    name, labels = PREFIX + spec.name, list(spec.labels)
    if spec.kind == "histogram":
        family = HistogramMetricFamily(name, spec.help, labels=labels)
        for key, histogram in series.histograms.items():
            family.add_metric(list(key), histogram.cumulated(), histogram.sum)
        return family
    kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    plain = kind(name, spec.help, labels=labels)
    for key, value in series.counts.items():
        plain.add_metric(list(key), value)
    return plain


def expose(series: dict[str, Series], accept: str | None) -> tuple[bytes, str]:
    """Return the page for a scrape and its content type.

    Each call uses a new registry, so that two servers in one process do not share one.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(series))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    encode, content_type = choose_encoder(accept or "")
    return encode(registry), content_type
