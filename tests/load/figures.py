"""The figures measured under load, as a table, as evidence/load.json and as load.html with plots.

All of them are made from the same rows. No time or rate is asserted.
"""

import json
import math

from prixfixe.load.page import as_html
from tests.container.builder import ROOT

__all__ = ["markdown", "row", "table", "write"]

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
    """Return an outcome with its figures and those of the vitals around it."""
    p50, p99 = (outcome.percentile(percent) * 1000 for percent in (50, 99))
    return {
        "outcome": outcome,
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


def markdown(rows):
    """Return the table as a document has it."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *map(cells_of, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(rows, facts, file=FILE):
    """Write what was measured, on what, and beside it a page with plots."""
    file.parent.mkdir(exist_ok=True)
    figures = [{name: row[name] for name in COLUMNS} for row in rows]
    file.write_text(json.dumps({"on": facts, "measured": figures}, indent=1) + "\n")
    page = as_html([(row["scenario"], row["outcome"]) for row in rows])
    file.with_suffix(".html").write_text(page)
