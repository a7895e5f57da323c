"""The shape of a check: an id, a source, and the evidence that it leaves whether it holds or not.

A source is a promise of the README (P1 to P8) or a section of an RFC. Evidence is one JSON file a
check and case in `evidence/checks`.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.container.builder import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Check", "leaving"]

FOLDER = ROOT / "evidence" / "checks"


class Check(NamedTuple):
    """What is checked, and why it must hold."""

    id: str
    source: str
    what: str


@contextlib.contextmanager
def leaving(check: Check, case: str) -> Iterator[dict[str, Any]]:
    """Give a place for what is seen; write it with the verdict when the check is over."""
    seen: dict[str, Any] = {}
    verdict = "failed"
    try:
        yield seen
        verdict = "held"
    finally:
        FOLDER.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.=-]+", "_", f"{check.id}-{case}")
        record = {**check._asdict(), "case": case, "verdict": verdict, "seen": seen}
        (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
