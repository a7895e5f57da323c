"""What is told of an outcome, as a table for people or JSON for programs.

Owns: both forms and the percentiles they show. Promises: both say the same.
Refuses: judging; that is for who reads it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prixfixe.load.driver import Outcome

__all__ = ["as_json", "as_table"]

PERCENTILES = (50, 90, 99, 99.9, 100)


def _facts(outcome: Outcome) -> dict[str, Any]:
    rate = outcome.accepted / outcome.seconds if outcome.seconds else 0.0
    latency = {f"p{percent:g}": outcome.percentile(percent) * 1000 for percent in PERCENTILES}
    return {
        "accepted": outcome.accepted,
        "refused": outcome.refused,
        "failed": outcome.failed,
        "seconds": round(outcome.seconds, 3),
        "messages_per_second": round(rate, 1),
        "octets": outcome.octets,
        "latency_ms": {
            name: None if math.isnan(value) else round(value, 3) for name, value in latency.items()
        },
        "codes": {str(code): count for code, count in sorted(outcome.codes.items())},
        "errors": dict(sorted(outcome.errors.items())),
    }


def as_json(outcome: Outcome) -> str:
    """Return one JSON object."""
    return json.dumps(_facts(outcome), indent=2)


def as_table(outcome: Outcome) -> str:
    """Return lines of name and value."""
    rows: list[tuple[str, object]] = []
    for name, value in _facts(outcome).items():
        if isinstance(value, dict):
            rows += [(f"{name} {key}", inner) for key, inner in value.items()]
        else:
            rows.append((name, value))
    return "\n".join(f"{name:<24}{'-' if value is None else value}" for name, value in rows)
