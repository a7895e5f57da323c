"""Compute medians, ratios and ranges from samples, and list the claims that a run checks.

A ratio compares the medians of one run. Its range is that of the rounds in which both servers were
measured.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CLAIMS",
    "Claim",
    "Measured",
    "costs",
    "figure",
    "measure",
    "medians",
    "rates",
    "ratio_of",
]


class Claim(NamedTuple):
    """`server` handles at least `least` times the messages of `rival`, both by their keys."""

    server: str
    rival: str
    workload: str
    least: float


CLAIMS = (
    Claim("prixfixe-discard", "aiosmtpd-asyncio", "1KiB-same", 5),
    Claim("prixfixe-discard", "aiosmtpd-asyncio", "100KiB-same", 5),
    Claim("prixfixe-discard", "smtp-sink", "1KiB-same", 0.6),
    Claim("prixfixe-sqlite", "postfix", "1KiB-same", 6),
    Claim("prixfixe-sqlite", "postfix", "1KiB-own", 3.5),
    Claim("prixfixe-sqlite", "postfix", "100KiB-same", 1.3),
    Claim("prixfixe-postgresql", "prixfixe-sqlite", "1KiB-same", 0.7),
    Claim("prixfixe-postgresql", "postfix", "1KiB-same", 5),
    Claim("prixfixe-postgresql", "postfix", "1KiB-own", 3),
    Claim("prixfixe-postgresql", "prixfixe-sqlite", "100KiB-same", 0.4),
    Claim("prixfixe-postgresql", "postfix", "100KiB-same", 1),
)


class Measured(NamedTuple):
    """A ratio of medians, and the lowest and highest of a round."""

    ratio: float
    low: float
    high: float


Rates = dict[tuple[str, str], dict[int, float]]


def rates(samples: Iterable[dict[str, Any]]) -> Rates:
    """Return messages a second by server and workload, then by round."""
    found: Rates = {}
    for one in samples:
        place = found.setdefault((one["server"], one["workload"]), {})
        place[one["round"]] = one["messages"] / one["seconds"]
    return found


def medians(samples: Iterable[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Return the median rate by server and workload."""
    return {key: median(values.values()) for key, values in rates(samples).items()}


def costs(samples: Iterable[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Return the median of the server's processor time for a message, in microseconds."""
    found: dict[tuple[str, str], list[float]] = {}
    for one in samples:
        place = found.setdefault((one["server"], one["workload"]), [])
        place.append(one["busy"] / one["messages"] * 1e6)
    return {key: median(values) for key, values in found.items()}


def ratio_of(ours: dict[int, float], theirs: dict[int, float]) -> Measured | None:
    """Return the ratio of two servers' rates, or None when no round has both."""
    rounds = [ours[one] / theirs[one] for one in ours if one in theirs]
    if not rounds:
        return None
    ratio = median(ours.values()) / median(theirs.values())
    return Measured(ratio, min(rounds), max(rounds))


def measure(claim: Claim, found: Rates) -> Measured | None:
    """Return what was measured of a claim, if both servers were."""
    return ratio_of(
        found.get((claim.server, claim.workload), {}), found.get((claim.rival, claim.workload), {})
    )


def figure(value: float) -> str:
    """Return a number with three digits that count, thousands set apart."""
    if value >= 100:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def turned(names: list[str], number: int) -> list[str]:
    """Return the names with another one first for each round."""
    first = number % len(names) if names else 0
    return names[first:] + names[:first]
