"""Add Markdown, such as a table, to the summary page of a GitHub Actions run.

Nothing is written where GITHUB_STEP_SUMMARY is not set.
"""

import os
from pathlib import Path

__all__ = ["add"]


def add(title, text):
    """Add a part of Markdown to the page."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a") as page:
            page.write(f"## {title}\n\n{text}\n\n")
