"""The counts of a run, and their sum over several runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prixfixe.load.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TICKS_A_SECOND", "Outcome", "merged"]

TICKS_A_SECOND = 20  # so that a run of less than a second can be drawn


@dataclass(slots=True)
class Outcome:
    """Counts; `latencies` are of the accepted messages, `octets` those without final dots."""

    codes: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: Histogram = field(default_factory=Histogram)
    octets: int = 0
    began: float = 0.0  # seconds since 1970
    seconds: float = 0.0
    throughput: Counter[int] = field(default_factory=Counter)  # second of the run: accepted in it
    ticks: Counter[int] = field(default_factory=Counter)  # the same by TICKS_A_SECOND
    trouble: Counter[int] = field(default_factory=Counter)  # second of the run: all others

    @property
    def accepted(self) -> int:
        """Messages answered with 250."""
        return self.codes[250]

    @property
    def refused(self) -> int:
        """Messages answered with another code."""
        return self.codes.total() - self.accepted

    @property
    def failed(self) -> int:
        """Messages without a reply."""
        return self.errors.total()

    @property
    def rate(self) -> float:
        """Accepted messages a second."""
        return self.accepted / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latencies of accepted messages, in seconds."""
        return self.latencies.percentile(percent)

    def accept(self, octets: int, latency: float, at: float) -> None:
        """Count a message that was answered with 250, so many seconds after the beginning."""
        self.codes[250] += 1
        self.octets += octets
        self.latencies.record(latency)
        self.throughput[int(at)] += 1
        self.ticks[int(at * TICKS_A_SECOND)] += 1

    def refuse(self, code: int, second: int) -> None:
        """Count a message that was answered with another code."""
        self.codes[code] += 1
        self.trouble[second] += 1

    def fail(self, why: str, second: int) -> None:
        """Count a message without a reply."""
        self.errors[why] += 1
        self.trouble[second] += 1


def merged(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the sum; its duration is the time in which at least one run was active."""
    parts = sorted(outcomes, key=lambda one: one.began)
    total = Outcome(began=parts[0].began if parts else 0.0, seconds=_busy(parts))
    for part in parts:
        total.codes.update(part.codes)
        total.errors.update(part.errors)
        total.latencies.add(part.latencies)
        total.octets += part.octets
        offset = round(part.began - total.began)
        for mine, theirs in ((total.throughput, part.throughput), (total.trouble, part.trouble)):
            mine.update({second + offset: count for second, count in theirs.items()})
        offset = round((part.began - total.began) * TICKS_A_SECOND)
        total.ticks.update({tick + offset: count for tick, count in part.ticks.items()})
    return total


def _busy(parts: list[Outcome]) -> float:
    busy, until = 0.0, 0.0
    for part in parts:  # in the order of their beginnings
        end = part.began + part.seconds
        busy += max(0.0, end - max(until, part.began))
        until = max(until, end)
    return busy
