"""Results as SVG drawings: latency by percentile, throughput over time, replies other than 250.

matplotlib is imported only when a drawing is made.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.load.outcome import TICKS_A_SECOND, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from prixfixe.load.outcome import Outcome

    Named = Sequence[tuple[str, Outcome]]

__all__ = ["DRAWINGS", "Drawing"]

_PERCENTILES = [0.0, *range(1, 100), 99.5, 99.9, 99.95, 99.99, 99.999]
_TICKS = (0, 50, 90, 99, 99.9, 99.99, 99.999)
_WIDTHS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds of a bin
_BINS = 60
_EPSILON = 1e-9  # 0.3 / 0.1 is less than 3
# Names are not parsed as formulas. Text stays text, and drawings of equal results are equal.
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "prixfixe",
}


class Drawing(NamedTuple):
    """A drawing: its title, the function that draws it, and the number of messages in it."""

    title: str
    draw: Callable[[Axes, Named], None]
    messages: Callable[[Outcome], int]

    def svg(self, named: Named) -> bytes:
        """Return the drawing of these outcomes as SVG, or b"" if it would be empty."""
        from matplotlib import rc_context  # of an extra
        from matplotlib.figure import Figure

        if not any(self.messages(outcome) for _, outcome in named):
            return b""
        octets = io.BytesIO()
        with rc_context(_STYLE):
            figure = Figure(figsize=(8, 3.6), layout="constrained")
            self.draw(figure.subplots(), named)
            figure.savefig(octets, format="svg", metadata={"Date": None})
        return octets.getvalue()


def _latencies(axes: Axes, named: Named) -> None:
    most = 1.0
    for name, outcome in named:
        total = len(outcome.latencies)
        reached = [one for one in _PERCENTILES if one == 0 or total * (100 - one) >= 100]
        nines = [100 / (100 - one) for one in reached]
        axes.plot(nines, [outcome.percentile(one) * 1000 for one in reached], label=_label(name))
        most = max(most, *nines)
    ticks = [one for one in _TICKS if 100 / (100 - one) <= most]
    axes.set_xscale("log")
    axes.set_xticks([100 / (100 - one) for one in ticks], [f"{one:g}" for one in ticks])
    axes.minorticks_off()
    axes.set_xlabel("percentile")
    axes.set_ylabel("ms")
    _finish(axes, named)


def _throughput(axes: Axes, named: Named) -> None:
    width = _width(max(_end(outcome) for _, outcome in named))
    for name, outcome in named:
        edges, rates = _rates(outcome, width)
        axes.stairs(rates, edges, label=_label(name), baseline=None)
    axes.set_xlabel("seconds from the beginning")
    axes.set_ylabel("messages a second")
    axes.set_xlim(left=0)
    _finish(axes, named)


def _end(outcome: Outcome) -> float:
    """Return when the last message was answered, as far as the counts tell."""
    ticks = max(outcome.ticks, default=-1) + 1
    seconds = max(outcome.throughput, default=-1) + 1
    return ticks / TICKS_A_SECOND if ticks else float(seconds)


def _width(seconds: float) -> float:
    """Return how long a bin is, so that there are many and each has many messages."""
    return next((one for one in _WIDTHS if seconds / one <= _BINS), _WIDTHS[-1])


def _rates(outcome: Outcome, width: float) -> tuple[list[float], list[float]]:
    """Return the edges of the bins in seconds, and the rate in each; the last ends with the run.

    A last bin of less than half the width belongs to the one before it: its rate says little.
    """
    counted, unit = outcome.ticks, 1 / TICKS_A_SECOND
    if not counted:  # of a version that counted seconds only
        counted, unit = outcome.throughput, 1.0
    width = max(width, unit)
    end = max(_end(outcome), unit)
    edges = [number * width for number in range(max(1, round(end / width)))] + [end]
    counts = [0] * (len(edges) - 1)
    for tick, count in counted.items():
        counts[min(int(tick * unit / width + _EPSILON), len(counts) - 1)] += count
    spans = zip(edges, edges[1:], counts, strict=False)
    return edges, [count / (after - before) for before, after, count in spans]


def _troubles(axes: Axes, named: Named) -> None:
    total = merged(outcome for _, outcome in named)
    counts = {f"code {code}": count for code, count in total.codes.items() if code != 250}
    counts |= total.errors
    bars = axes.barh(range(len(counts)), list(counts.values()))
    axes.bar_label(bars, padding=4)
    axes.set_yticks(range(len(counts)), list(counts))
    axes.set_xlabel("messages")


def _finish(axes: Axes, named: Named) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if len(named) > 1:
        axes.legend()


def _label(name: str) -> str:
    return f" {name}"  # a name that begins with _ would have no entry in the legend


def _accepted(outcome: Outcome) -> int:
    return outcome.accepted


def _others(outcome: Outcome) -> int:
    return outcome.refused + outcome.failed


DRAWINGS = (
    Drawing("Latency by percentile", _latencies, _accepted),
    Drawing("Throughput over time", _throughput, _accepted),
    Drawing("Refused and failed", _troubles, _others),
)
