"""Save what a run produced: its record, its plots, and its tables on the workflow's summary page.

All of them come from the same record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench import document, plots
from tests.support import run_summary as summaries

__all__ = ["keep"]

FILE = Path(__file__).parents[2] / "evidence" / "bench.json"


def keep(record: dict[str, Any], file: Path = FILE) -> None:
    """Write the record, its plots in a folder of the same name, and tell the page."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(record, indent=1))
    plots.draw(record, file.with_suffix(""))
    summaries.add("Speed, beside others", "\n\n".join(document.parts(record).values()))
