"""One HTML file without anything from elsewhere; needs jinja2."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING

from prixfixe.verify.cases import GROUPS, Outcome
from prixfixe.verify.reports.json import facts_of

if TYPE_CHECKING:
    from prixfixe.verify.play import Run

__all__ = ["report"]


def report(run: Run) -> str:
    """Return the page."""
    from jinja2 import Environment

    template = files("prixfixe.verify.reports").joinpath("page.html.jinja").read_text("utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    groups = [
        (name, text, [one for one in run.results if one.case.group == name])
        for name, text in GROUPS.items()
    ]
    counted = [
        (name, text, found, Counter(one.outcome for one in found))
        for name, text, found in groups
        if found
    ]
    return page.render(facts=facts_of(run), groups=counted, outcomes=list(Outcome)) + "\n"
