"""Draw the SVG plots of docs/performance.md from the record of a run.

The same record gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.bench.generator import WORKLOADS
from tests.bench.summary import CLAIMS, measure, medians, rates

__all__ = ["draw"]

OURS, THEIRS = "#2a6f97", "#a9a9a9"
STYLE = {"svg.hashsalt": "prixfixe", "svg.fonttype": "none", "font.size": 9}


def draw(record: dict[str, Any], folder: Path) -> None:
    """Write the plots into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, figure in (("throughput", _throughput(record)), ("claims", _claims(record))):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _throughput(record: dict[str, Any]) -> Figure:
    found, every = medians(record["samples"]), rates(record["samples"])
    keys = [key for key in WORKLOADS if any(workload == key for _, workload in found)]
    figure = Figure(figsize=(10, 1 + 2.2 * -(-len(keys) // 3)), layout="constrained")
    for number, key in enumerate(keys, 1):
        axes = figure.add_subplot(-(-len(keys) // 3), min(3, len(keys)), number)
        names = [one for one in record["titles"] if (one, key) in found][::-1]
        colours = [OURS if one.startswith(("prixfixe", "image")) else THEIRS for one in names]
        axes.barh(names, [found[one, key] for one in names], color=colours)
        for place, one in enumerate(names):
            values = list(every[one, key].values())
            axes.plot(values, [place] * len(values), "|", color="black", markersize=5)
        axes.set_title(WORKLOADS[key].title)
        axes.tick_params(axis="y", labelleft=(number - 1) % 3 == 0)
        axes.set_xlabel("messages a second")
    return figure


def _claims(record: dict[str, Any]) -> Figure:
    found = rates(record["samples"])
    shown = [(one, got) for one in CLAIMS[::-1] if (got := measure(one, found))]
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.add_subplot()
    names = [f"{one.server} / {one.rival}, {WORKLOADS[one.workload].title}" for one, _ in shown]
    values = [got.ratio / one.least for one, got in shown]
    axes.barh(names, values, color=OURS)
    for place, (one, got) in enumerate(shown):
        axes.plot([got.low / one.least, got.high / one.least], [place] * 2, color="black")
    axes.axvline(1, color="#c1121f")
    axes.set_xlabel("measured ratio / the ratio that must hold (line: range of the rounds)")
    return figure
