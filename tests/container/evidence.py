"""Save evidence of a failed test: logs, inspection, health log and processes of its containers.

It goes to `evidence/container/TEST`, or below PRIXFIXE_EVIDENCE. A piece that cannot be read never
fails the test; its file says why.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.container.box import Box

__all__ = ["keep"]

FOLDER = Path(
    os.environ.get("PRIXFIXE_EVIDENCE") or Path(__file__).parents[2] / "evidence" / "container"
)


def keep(test: str, boxes: Iterable[Box], report: str) -> None:
    """Write what these containers can tell."""
    folder = FOLDER / re.sub(r"[^\w.\[\]=-]+", "_", test.rpartition("tests/container/")[2])[:150]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.txt").write_text(report)
    for number, box in enumerate(boxes):
        if not box.is_started:
            continue
        pieces: dict[str, Callable[[], str]] = {
            "log.txt": box.logs,
            "inspect.json": lambda box=box: _json(box.container.attrs),
            "health.json": lambda box=box: _json(box.state.get("Health")),
            "top.json": lambda box=box: _json(box.container.top(ps_args="-eo pid,stat,rss,args")),
        }
        for name, piece in pieces.items():
            (folder / f"{number}-{name}").write_text(_told(piece))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, default=str)


def _told(piece: Callable[[], str]) -> str:
    try:
        return piece()
    except Exception as error:  # noqa: BLE001 - evidence must not hide the failure
        return f"not to be had: {error!r}\n"
