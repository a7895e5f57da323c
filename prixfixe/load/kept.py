"""Compare a run with the messages in the server's store, as `prixfixe messages --json` lists them.

No fault means that every accepted message is stored exactly once and whole, and no refused one is.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from prixfixe.load.post import END, message
from prixfixe.load.results import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prixfixe.load.results import Run

__all__ = ["faults", "listing"]

Listing = Counter[tuple[str, int]]  # subject and size of each message


def listing(lines: Iterable[str]) -> Listing:
    """Parse a listing: one JSON object a line, with subject and size.

    Raises:
        FormatError: a line is something else.

    """
    try:
        records = [json.loads(line) for line in lines]
        return Counter((str(record["subject"]), int(record["size"])) for record in records)
    except (ValueError, TypeError, LookupError) as error:
        raise FormatError("what `prixfixe messages --json` wrote") from error


def faults(run: Run, kept: Listing) -> list[str]:
    """Return the faults of a store after a run, a sentence each."""
    sent = _sent(run)
    mine = [one for one in kept if one in sent]
    outcome = run.outcome
    known = sum(kept[one] for one in mine)
    found = {
        "accepted but not kept": outcome.accepted - len(mine),
        "kept but never accepted": len(mine) - outcome.accepted - outcome.failed,
        "kept more than once": known - len(mine),
        "kept that were not sent, or not in this size": kept.total() - known,
    }
    return [f"{run.target}: {count} messages {what}" for what, count in found.items() if count > 0]


def _sent(run: Run) -> set[tuple[str, int]]:
    sizes = run.plan["size"]
    bodies = (
        (number, message(number, sizes[number % len(sizes)]))
        for number in range(run.plan["messages"])
    )
    return {(f"load {number}", len(body) - len(END)) for number, body in bodies}
