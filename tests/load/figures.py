"""What was measured under load: recorded for people, never judged.

Owns: the rows of a run, the table at its end and evidence/load.json.
Promises: both say the same. Refuses: asserting a time or a rate.
"""

import json
import math

from tests.container.builder import ROOT

__all__ = ["row", "table", "write"]

FILE = ROOT / "evidence" / "load.json"
MIB = 1 << 20
COLUMNS = {
    "scenario": "",
    "messages": "",
    "seconds": ".1f",
    "per_second": ".0f",
    "p50_ms": ".1f",
    "p99_ms": ".1f",
    "rss_before_mib": ".1f",
    "rss_peak_mib": ".1f",
    "rss_after_mib": ".1f",
    "fds_before": "",
    "fds_after": "",
    "threads": "",
}


def row(scenario, outcome, before, after):
    """Return the figures of an outcome and of the vitals around it."""
    p50, p99 = (outcome.percentile(percent) * 1000 for percent in (50, 99))
    return {
        "scenario": scenario,
        "messages": outcome.accepted,
        "seconds": outcome.seconds,
        "per_second": outcome.accepted / outcome.seconds,
        "p50_ms": None if math.isnan(p50) else p50,
        "p99_ms": None if math.isnan(p99) else p99,
        "rss_before_mib": before.rss / MIB,
        "rss_peak_mib": after.peak / MIB,
        "rss_after_mib": after.rss / MIB,
        "fds_before": before.fds,
        "fds_after": after.fds,
        "threads": after.threads,
    }


def cells_of(row):
    """Return a row's texts."""
    return ["-" if row[name] is None else format(row[name], form) for name, form in COLUMNS.items()]


def table(rows):
    """Return the lines of a table."""
    cells = [list(COLUMNS), *map(cells_of, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.rjust, line, widths)) for line in cells]


def write(rows, facts):
    """Write what was measured, on what."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps({"on": facts, "measured": rows}, indent=1) + "\n")
