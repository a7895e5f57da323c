"""Play the table on a target and print who passes what: `python -m tests.conformance prixfixe`.

Targets: prixfixe, aiosmtpd. Further words are case ids or their beginnings. A report, not a gate:
the exit code is 0 when every case that was asked for was played.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.runner import CaseError, play
from tests.conformance.script import load
from tests.conformance.stock import StockTarget
from tests.conformance.targets import NotOfferedError, ProcessTarget

if TYPE_CHECKING:
    from tests.conformance.script import Case
    from tests.conformance.targets import Target

TARGETS: dict[str, type[Target]] = {"prixfixe": ProcessTarget, "aiosmtpd": StockTarget}


def judge(case: Case, variant: str, target: Target) -> str:
    """Return "" for a pass, else why not."""
    try:
        play(case, variant, target)
    except (CaseError, RuntimeError) as error:
        return str(error)
    except NotOfferedError as error:
        return f"not offered: {error}"
    return ""


def main(argv: list[str]) -> int:
    """Print one line a case, then the counts."""
    name, *wanted = argv or ["prixfixe"]
    cases = [one for one in load().values() if not wanted or one.id.startswith(tuple(wanted))]
    failed, played = set(), 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name](Path(folder))
        try:
            for case in cases:
                for variant in case.variants:
                    played += 1
                    before = time.monotonic()
                    why = judge(case, variant, target)
                    time.monotonic() - before
                    if why:
                        failed.add(case.id)
        finally:
            target.close()
    time.monotonic() - start
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
