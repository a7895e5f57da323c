"""The values of a metric: counters, gauges and histograms as plain numbers by label values."""

from __future__ import annotations

from bisect import bisect_left
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prixfixe.telemetry.metrics_table import Spec

__all__ = ["Histogram", "Series", "empty_series"]


class Histogram:
    """Counts per bucket and a sum; only one thread may update it."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Return the cumulative `(le, count)` pairs of Prometheus."""
        total, pairs = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            pairs.append(("+Inf" if bound == float("inf") else str(float(bound)), float(total)))
        return pairs


class Series(NamedTuple):
    """The values of one metric by its label values."""

    counts: dict[tuple[str, ...], float]
    histograms: dict[tuple[str, ...], Histogram]


def empty_series(spec: Spec, backend: str) -> Series:
    """Return every combination of label values at zero; `backend` has one value per server."""
    values = [spec.labels[name] or (backend,) for name in spec.labels]
    keys = list(product(*values))
    if spec.kind == "histogram":
        return Series({}, {key: Histogram(spec.buckets) for key in keys})
    return Series(dict.fromkeys(keys, 0), {})
