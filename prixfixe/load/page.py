"""Results as one self-contained HTML page, without scripts, in the look of the inbox page."""

from __future__ import annotations

import base64
import datetime as dt
from importlib.resources import files
from typing import TYPE_CHECKING

from prixfixe.load.outcome import merged
from prixfixe.load.plots import DRAWINGS
from prixfixe.load.report import COLUMNS, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prixfixe.load.outcome import Outcome
    from prixfixe.load.results import Run

__all__ = ["as_html", "told"]

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
{{ look }}
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { margin: 1rem 0; }
th, td { text-align: end; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: start; }
img { max-width: 100%; padding: 0.5rem; border-radius: 8px; background: #fff; }
.fact { margin: 0; color: var(--muted); }
</style>
<h1>{{ title }}</h1>
{% for line in facts %}<p class="fact">{{ line }}</p>
{% endfor %}
{% for line in faults %}<p class="fault">{{ line }}</p>
{% endfor %}
<table>
<tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% for name, image in drawings %}
<h2>{{ name }}</h2>
{% if image %}<img alt="{{ name }}" src="data:image/svg+xml;base64,{{ image }}">\
{% else %}<p>None.</p>{% endif %}
{% endfor %}
</html>
"""


def as_html(
    named: Sequence[tuple[str, Outcome]],
    *,
    lines: Sequence[tuple[str, Outcome]] = (),
    faults: Sequence[str] = (),
    facts: Sequence[str] = (),
) -> str:
    """Return a page with a row for each of `named`, and drawings of `lines` or else of `named`.

    Args:
        named: a name and an outcome for each row.
        lines: what is drawn, where it is not the rows.
        faults: sentences in red.
        facts: sentences about what was measured, where and when.

    """
    from jinja2 import Environment  # of an extra
    from markupsafe import Markup  # of the same one

    look = (files("prixfixe.http") / "web" / "look.css").read_text()
    total = merged(outcome for _, outcome in named)
    drawings = [(one.title, _base64(one.svg(lines or named))) for one in DRAWINGS]
    page = Environment(autoescape=True).from_string(_TEMPLATE)
    return page.render(
        title=f"{total.accepted} messages accepted",
        columns=COLUMNS,
        rows=rows(named),
        drawings=drawings,
        faults=faults,
        facts=facts,
        look=Markup(look),  # noqa: S704 - a file of the package
    )


def told(runs: Sequence[Run]) -> list[str]:
    """Return what was measured, where and when, as a sentence for each run."""
    return [f"{_when(one.outcome.began)}: {one.target}, {_plan(one)}{_where(one)}" for one in runs]


def _when(began: float) -> str:
    return dt.datetime.fromtimestamp(began, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plan(run: Run) -> str:
    plan = run.plan
    sizes = " and ".join(f"{size:,} bytes" for size in plan.get("size") or ())
    rate = plan.get("rate")
    pace = f"{rate:g} messages a second by the clock" if rate else "each after the last answer"
    flags = [name for name in ("own", "pipelined", "starttls") if plan.get(name)]
    words = [f"{plan.get('messages')} messages of {sizes}", f"{plan.get('workers')} connections"]
    return ", ".join([*words, pace, *flags])


def _where(run: Run) -> str:
    made = run.environment
    if not made:
        return ""
    versions = f"prixfixe {made.get('prixfixe')}, Python {made.get('python')}"
    return f". Sent by {versions}, {made.get('system')}, {made.get('processors')} processors"


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
