"""A histogram of latencies in the buckets of HdrHistogram, with three significant digits.

A percentile is at most a thousandth above the true value and never below it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Histogram"]

_BITS = 11  # 2**11 buckets distinguish values that differ by a thousandth


class Histogram:
    """Counts of values in seconds, by the lowest microsecond of a bucket."""

    def __init__(self, buckets: Iterable[tuple[int, int]] = ()) -> None:
        self.buckets: Counter[int] = Counter()
        for lowest, count in buckets:
            self.buckets[_lowest(lowest)] += count

    def __len__(self) -> int:
        """Return how many values were recorded."""
        return self.buckets.total()

    def record(self, seconds: float) -> None:
        """Count one value."""
        self.buckets[_lowest(round(seconds * 1e6))] += 1

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        self.buckets.update(other.buckets)

    def percentile(self, percent: float) -> float:
        """Return a percentile in seconds; NaN if there are no values."""
        wanted = max(1, math.ceil(len(self) * percent / 100))
        for lowest, count in sorted(self.buckets.items()):
            wanted -= count
            if wanted <= 0:
                return _highest(lowest) / 1e6
        return math.nan


def _lowest(value: int) -> int:
    shift = max(0, value.bit_length() - _BITS)
    return value >> shift << shift


def _highest(lowest: int) -> int:
    return lowest | ((1 << max(0, lowest.bit_length() - _BITS)) - 1)
