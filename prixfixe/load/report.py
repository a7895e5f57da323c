"""Results as a text table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prixfixe.load.outcome import Outcome, merged
from prixfixe.load.results import facts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COLUMNS", "as_table", "rows"]

COLUMNS = (
    "",
    "accepted",
    "refused",
    "failed",
    "seconds",
    "msg/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "max ms",
)


_LATENCIES = ("p50", "p90", "p99", "p99.9", "p100")


def as_table(named: Sequence[tuple[str, Outcome]]) -> str:
    """Return one outcome as lines, or several as a table with the codes and errors of all."""
    if len(named) == 1:
        return _lines(facts(named[0][1]))
    total = facts(merged(outcome for _, outcome in named))
    ends = {name: total[name] for name in ("codes", "errors") if total[name]}
    return _grid([COLUMNS, *rows(named)]) + "\n\n" + _lines(ends)


def rows(named: Sequence[tuple[str, Outcome]]) -> list[tuple[str, ...]]:
    """Return a row for each outcome, and one for their sum if there are several."""
    if len(named) > 1:
        named = [*named, ("all", merged(outcome for _, outcome in named))]
    return [_row(name, facts(outcome)) for name, outcome in named]


def _row(name: str, told: dict[str, Any]) -> tuple[str, ...]:
    counts = (told["accepted"], told["refused"], told["failed"])
    times = (told["seconds"], told["messages_per_second"])
    latencies = (told["latency_ms"][percentile] for percentile in _LATENCIES)
    seconds, rate = times
    return (name, *map(_shown, counts), f"{seconds:.3g}", *map(_shown, (rate, *latencies)))


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _lines(told: dict[str, Any]) -> str:
    pairs: list[tuple[str, object]] = []
    for name, value in told.items():
        if isinstance(value, dict):
            pairs += [(f"{name} {key}", inner) for key, inner in value.items()]
        else:
            pairs.append((name, value))
    return "\n".join(f"{name:<23} {'-' if value is None else value}" for name, value in pairs)


def _grid(table: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )
