"""Reports of a run: JSON, JUnit XML, one HTML file, Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.verify.reports import html, json, junit, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.play import Run

__all__ = ["KINDS", "written"]

KINDS: dict[str, Callable[[Run], str]] = {
    "html": html.report,
    "json": json.report,
    "junit": junit.report,
    "markdown": markdown.report,
}


def written(kind: str, run: Run) -> str:
    """Return a report's text."""
    return KINDS[kind](run)
