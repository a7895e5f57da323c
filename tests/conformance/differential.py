"""Who passes what: every target plays the table in one run, and `docs/conformance.md` tells.

Owns: that document. Promises: PrixFixe's column comes from the same run as the others'; a report
only: the exit code says whether it was written, not who passed. Rows that rest on a defect of a
parser others share (`UNPUBLISHED`) are played on PrixFixe only.
Refuses: playing and judging (see `report`).
"""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from prixfixe import __version__
from tests.conformance.report import FAIL, NOT_OFFERED, PASS, UNPUBLISHED, line, results
from tests.conformance.script import load
from tests.conformance.stock import StockTarget
from tests.conformance.targets import ProcessTarget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conformance.report import Result
    from tests.conformance.script import Case
    from tests.conformance.targets import Target

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
MARKS = {PASS: "pass", FAIL: "fail", NOT_OFFERED: "–", "": "not published"}
LEVELS = {"M": "must", "S": "should", "P": "own rule"}
HEAD = """# Conformance: who passes what

Written by `nox -s differential`, which plays every case of `tests/conformance/cases` on each
server in one run, in every way a case can be cut; a case counts as passed when all its parts do.
A report, not a ranking: *must* rows are a MUST of an RFC or the effect of a CVE, *should* rows a
SHOULD or hardening, *own rule* rows are what PrixFixe promises where the RFCs leave a choice, and
nobody else is bound by them. – is a configuration or an extension the server does not offer.
"""


def played_on(name: str, target_type: type[Target], cases: Iterable[Case]) -> dict[str, Result]:
    """Play the cases on one target and say how far it is."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        target = target_type(Path(folder))
        try:
            for result in results(cases, target):
                found[result.case.id] = result
                sys.stdout.write(f"{name} {line(result)[:200]}\n")
                sys.stdout.flush()
        finally:
            target.close()
    return found


def document(columns: dict[str, dict[str, Result]], cases: dict[str, Case]) -> str:
    """Return the text of the document."""
    names = list(columns)
    parts = [HEAD, "", f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for letter, level in LEVELS.items():
        ids = [one.id for one in cases.values() if one.level == letter]
        cells = [_counts(column, ids) for column in columns.values()]
        parts.append(f"| {level} ({len(ids)}) | {' | '.join(cells)} |")
    parts += ["", f"| id | level | source | why | {' | '.join(names)} |"]
    parts.append(f"|---|---|---|---|{'---|' * len(names)}")
    for one in sorted(cases.values(), key=lambda case: case.id):
        cells = [_cell(column.get(one.id)) for column in columns.values()]
        why = one.reason.replace("|", "\\|")
        parts.append(
            f"| {one.id} | {LEVELS[one.level]} | {one.source} | {why} | {' | '.join(cells)} |"
        )
    return "\n".join(parts) + "\n"


def _cell(result: Result | None) -> str:
    return MARKS[result.outcome if result else ""]


def _counts(column: dict[str, Result], ids: list[str]) -> str:
    outcomes = [column[one].outcome for one in ids if one in column]
    told = f"{outcomes.count(PASS)} pass, {outcomes.count(FAIL)} fail"
    return f"{told}, {outcomes.count(NOT_OFFERED)} –" if NOT_OFFERED in outcomes else told


def main() -> int:
    """Play, and write the document."""
    cases = load()
    public = [one for one in cases.values() if one.id not in UNPUBLISHED]
    columns = {
        f"PrixFixe {__version__}": played_on("prixfixe", ProcessTarget, cases.values()),
        f"aiosmtpd {version('aiosmtpd')}": played_on("aiosmtpd", StockTarget, public),
    }
    DOCUMENT.write_text(document(columns, cases), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
