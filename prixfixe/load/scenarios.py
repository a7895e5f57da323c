"""Named plans for `prixfixe load --scenario`, scripts/stress-test.sh and the tests."""

from __future__ import annotations

from prixfixe.load.plan import KIB, Plan

__all__ = ["SCENARIOS"]

# Of twenty messages twelve are short, five medium, two have a picture, one is large: 64 KiB each.
_MIXED = (
    *(KIB, KIB, 10 * KIB, KIB, KIB, 100 * KIB, KIB, 10 * KIB, KIB, KIB),
    *(10 * KIB, KIB, KIB, 10 * KIB, KIB, 1024 * KIB, KIB, 100 * KIB, KIB, 10 * KIB),
)

SCENARIOS: dict[str, Plan] = {
    "quick": Plan(messages=100, workers=10),
    "burst": Plan(messages=5000, workers=50, sizes=(10 * KIB,)),
    "sustained": Plan(messages=3000, workers=50, rate=50.0),  # a minute
    "heavy": Plan(messages=10_000, workers=100, sizes=(10 * KIB,)),
    "mixed": Plan(messages=1000, workers=20, sizes=_MIXED),
}
