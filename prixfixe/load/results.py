"""Results as JSON: written by `prixfixe load --json`, read by `prixfixe load report`.

No password is written.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prixfixe import __version__
from prixfixe.load.histogram import Histogram
from prixfixe.load.outcome import Outcome, merged
from prixfixe.runtime.extras import has

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prixfixe.load.plan import Plan

__all__ = [
    "PERCENTILES",
    "VERSION",
    "FormatError",
    "Run",
    "as_json",
    "environment",
    "facts",
    "read",
]

VERSION = 1
PERCENTILES = (50, 90, 99, 99.9, 100)
_HIGHEST_US = 3_600_000_000  # an hour: HdrHistogram needs a maximum


class FormatError(Exception):
    """The text is not a result that this version can read."""


@dataclass(frozen=True, slots=True)
class Run:
    """One server's part of a load: its plan as options, its outcome, and what sent."""

    target: str
    plan: dict[str, Any]
    outcome: Outcome
    environment: dict[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, plan: Plan, outcome: Outcome) -> Run:
        """Return a run of this plan."""
        return cls(plan.target, _told(plan), outcome, environment())


def _told(plan: Plan) -> dict[str, Any]:
    """Return the plan by names of the command's options, without the password."""
    return {
        "messages": plan.messages,
        "workers": plan.workers,
        "size": list(plan.sizes),
        "rate": plan.rate,
        "own": plan.is_own,
        "pipelined": plan.is_piped,
        "starttls": plan.starttls,
        "user": plan.login and plan.login[0],
        "client": plan.client,
        "timeout": plan.timeout,
    }


def facts(outcome: Outcome) -> dict[str, Any]:
    """Return the figures that people read."""
    latency = {f"p{percent:g}": outcome.percentile(percent) * 1000 for percent in PERCENTILES}
    return {
        "accepted": outcome.accepted,
        "refused": outcome.refused,
        "failed": outcome.failed,
        "seconds": round(outcome.seconds, 6),  # the rate is computed from it again
        "messages_per_second": round(outcome.rate, 1),
        "octets": outcome.octets,
        "latency_ms": {
            name: None if math.isnan(value) else round(value, 3) for name, value in latency.items()
        },
        "codes": {str(code): count for code, count in sorted(outcome.codes.items()) if count},
        "errors": dict(sorted(outcome.errors.items())),
    }


def as_json(runs: Sequence[Run]) -> str:
    """Return one JSON object with the figures of all runs together, and every run's counts."""
    total = facts(merged(run.outcome for run in runs))
    return json.dumps({"version": VERSION, **total, "runs": [_record(run) for run in runs]})


def environment() -> dict[str, Any]:
    """Return what sends: versions, the kernel, and the number of processors."""
    return {
        "prixfixe": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
    }


def _record(run: Run) -> dict[str, Any]:
    outcome = run.outcome
    return {
        "target": run.target,
        "plan": run.plan,
        "environment": run.environment,
        "began": outcome.began,
        **facts(outcome),
        "histogram_us": sorted(outcome.latencies.buckets.items()),
        "hdrhistogram": _encoded(outcome.latencies) if has("hdrh") else None,
        "throughput": _series(outcome.throughput),
        "throughput_50ms": _series(outcome.ticks),
        "trouble": _series(outcome.trouble),
    }


def _series(counts: Counter[int]) -> list[int]:
    return [counts[second] for second in range(max(counts, default=-1) + 1)]


def _encoded(latencies: Histogram) -> str:
    """Return the histogram in the compressed form of HdrHistogram V2."""
    from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]  # of an extra

    histogram = HdrHistogram(1, _HIGHEST_US, 3)
    for lowest, count in latencies.buckets.items():
        histogram.record_value(min(lowest, _HIGHEST_US), count)
    encoded: bytes = histogram.encode()
    return encoded.decode("ascii")


def read(text: str) -> list[Run]:
    """Return the runs of a result.

    Raises:
        FormatError: the text is something else, or of a later version.

    """
    try:
        return [_run(record) for record in _records(json.loads(text))]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise FormatError("what `prixfixe load --json` wrote") from error


def _records(result: dict[str, Any]) -> list[dict[str, Any]]:
    if (version := result["version"]) != VERSION:
        raise FormatError(f"a result of version {VERSION}, not {version}")
    return list(result["runs"])


def _run(record: dict[str, Any]) -> Run:
    outcome = Outcome(
        codes=Counter({int(code): int(count) for code, count in record["codes"].items()}),
        errors=Counter({_plain(name): int(count) for name, count in record["errors"].items()}),
        latencies=Histogram((int(lowest), int(count)) for lowest, count in record["histogram_us"]),
        octets=int(record["octets"]),
        began=float(record["began"]),
        seconds=float(record["seconds"]),
        throughput=_counts(record["throughput"]),
        ticks=_counts(record.get("throughput_50ms", [])),
        trouble=_counts(record["trouble"]),
    )
    made = dict(record.get("environment", {}))
    return Run(_plain(record["target"]), dict(record["plan"]), outcome, made)


def _plain(text: str) -> str:
    """Return a name without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _counts(series: list[int]) -> Counter[int]:
    return Counter({second: int(count) for second, count in enumerate(series) if count})
