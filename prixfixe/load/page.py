"""Results as one self-contained HTML page, without scripts."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from prixfixe.load.outcome import merged
from prixfixe.load.plots import DRAWINGS
from prixfixe.load.report import COLUMNS, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prixfixe.load.outcome import Outcome

__all__ = ["as_html"]

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } img { max-width: 100% }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left } .fault { color: #b00 }
</style>
<h1>{{ title }}</h1>
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
) -> str:
    """Return a page with a row for each of `named`, and drawings of `lines` or else of `named`."""
    from jinja2 import Environment  # of an extra

    total = merged(outcome for _, outcome in named)
    drawings = [(one.title, _base64(one.svg(lines or named))) for one in DRAWINGS]
    page = Environment(autoescape=True).from_string(_TEMPLATE)
    return page.render(
        title=f"{total.accepted} messages accepted",
        columns=COLUMNS,
        rows=rows(named),
        drawings=drawings,
        faults=faults,
    )


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
