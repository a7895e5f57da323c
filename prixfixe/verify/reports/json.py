"""The JSON report; `report.schema.json` describes it."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from prixfixe import __version__

if TYPE_CHECKING:
    from prixfixe.verify.play import Run

__all__ = ["facts_of", "report"]


def facts_of(run: Run) -> dict[str, Any]:
    """Return what the report says."""
    bench = run.bench
    return {
        "version": 1,
        "tool": f"prixfixe {__version__}",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "target": {"name": bench.source.name, **bench.source.facts()},
        "level": run.level,
        "seed": bench.seed,
        "readback": bench.readback,
        "contract": bench.contract.tables,
        "seconds": round(run.seconds, 1),
        "is_interrupted": run.is_interrupted,
        "verdict": run.verdict,
        "exit_code": run.exit_code,
        "counts": dict(sorted(run.counts().items())),
        "results": [one.as_json() for one in run.results],
    }


def report(run: Run) -> str:
    """Return the run as JSON."""
    return json.dumps(facts_of(run), indent=1, ensure_ascii=False) + "\n"
