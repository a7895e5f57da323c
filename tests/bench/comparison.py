"""The table of `against`: a row for each server, and the ratios of the last server to the first.

It only formats samples, so that unit tests need no server and no clock.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["told"]

COLUMNS = ("us", "us of processor time")


def told(samples: dict[str, list[tuple[float, float]]]) -> str:
    """Return the table: a row for each server, and the ratios of the last to the first."""
    rows = [
        [value for column in zip(*found, strict=True) for value in _middle(column)]
        for found in samples.values()
    ]
    ratios = [new / old for old, new in zip(rows[0], rows[-1], strict=True)]
    head = "".join(f"{name + ' ' + which:>28}" for name in COLUMNS for which in ("p25", "p50"))
    lines = [f"{'':<12}{head}"]
    for name, row in zip(samples, rows, strict=True):
        lines.append(f"{name:<12}" + "".join(f"{value:>28.1f}" for value in row))
    lines.append(f"{'ratio':<12}" + "".join(f"{value:>28.3f}" for value in ratios))
    return "\n".join(lines) + "\n"


def _middle(values: Sequence[float]) -> tuple[float, float]:
    quarter, half, _ = statistics.quantiles(values, n=4, method="inclusive")
    return quarter, half
