"""The page that a workflow's run shows: tables a reader sees without opening a log.

Owns: adding to it. Promises: without such a page, as on a laptop, nothing is written.
Refuses: making tables.
"""

import os
from pathlib import Path

__all__ = ["add"]


def add(title, text):
    """Add a part of Markdown to the page."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a") as page:
            page.write(f"## {title}\n\n{text}\n\n")
