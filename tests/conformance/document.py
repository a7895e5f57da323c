"""Write the text of `docs/conformance.md` from the results of a run.

Every row of the table is in it. A difference that a standard allows is not counted as a failure.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from tests.conformance.peers.notes import NOTES, SETTINGS
from tests.conformance.report import FAIL, NOT_OFFERED, OTHERWISE, PASS, UNPUBLISHED, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prixfixe.verify.dialogue.script import Case
    from tests.conformance.report import Result

__all__ = ["Column", "document"]

NOT_RUN, NOT_PUBLISHED = "not run", "not published"
MARKS = {PASS: "pass", FAIL: "fail", OTHERWISE: "otherwise", NOT_OFFERED: "–", UNSEEN: "unseen"}
COUNTED = ("pass", "otherwise", "fail", "–", "unseen")
LEVELS = {"M": "must", "S": "should", "P": "own rule"}
HEAD = """# Conformance: who passes what

Written by `nox -s differential` on {date}, which plays every case of `prixfixe/verify/dialogue/cases` on
each server in one run, in every way a case can be cut; a case counts as passed when all its parts
do. It is a report about PrixFixe's table and no ranking of servers. They were made for other ends
than keeping test mail byte for byte, and much of what the table asks is left to them by the RFCs.
*must* rows are a MUST of an RFC or the effect of a CVE, *should* rows a SHOULD or hardening, *own
rule* rows what PrixFixe promises where the RFCs leave a choice: nobody else is bound by those.

- **pass**: in every part, as the row asks.
- **otherwise**: not so, but in a way that is allowed: with another code of the same class, which is
  all a client must look at (RFC 5321 section 4.2.1); in a row of PrixFixe's own; or as noted below.
- **fail**: not so. The row says what was looked at, not how much it matters in practice.
- **–**: the server does not offer the extension or the configuration. **unseen**: it cannot be told
  from outside. **not run**: the server was not to be had where the document was written.
- **not published**: a row in which others may have a defect that their authors were not told of.
"""
PEERS = """## How the others were run

aiosmtpd {aiosmtpd}: its own options, a handler that records. The others: Debian's packages in
containers of a network without a way out, with Debian's defaults and these settings, each so that
a case can be played or a choice of PrixFixe's can be had there too. All they take is delivered to a
recorder. A body without a header gets one; a server that offers no PIPELINING is sent one command
at a time.
"""


class Column(NamedTuple):
    """What one server was found to do, or why it was not asked."""

    title: str
    version: str
    found: dict[str, Result]
    absence: str = ""

    def mark(self, case: Case) -> str:
        """Return the word for one case."""
        if self.absence:
            return NOT_RUN
        result = self.found.get(case.id)
        if result is None:
            return NOT_PUBLISHED if case.id in UNPUBLISHED else NOT_RUN
        is_other = self.title != "PrixFixe" and (case.level == "P" or self.note(case))
        return MARKS[OTHERWISE if is_other and result.outcome == FAIL else result.outcome]

    def note(self, case: Case) -> str:
        """Return what is to be said where a case is not passed."""
        return NOTES.get(case.id, {}).get(self.title, "")


def document(columns: list[Column], cases: dict[str, Case]) -> str:
    """Return the text of the document."""
    date = dt.datetime.now(dt.UTC).date().isoformat()
    stock = next(one.version for one in columns if one.title == "aiosmtpd")
    rows = sorted(cases.values(), key=lambda case: case.id)
    parts = [HEAD.format(date=date), *_totals(columns, rows), "", *_table(columns, rows), ""]
    parts += ["## Otherwise, by row", "", *_notes(columns, rows), ""]
    parts += [PEERS.format(aiosmtpd=stock), *_settings(), *_absences(columns)]
    return "\n".join(parts) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _titles(columns: Iterable[Column]) -> list[str]:
    return [f"{one.title} {one.version}".strip() for one in columns]


def _totals(columns: list[Column], rows: list[Case]) -> Iterator[str]:
    yield _row("", *_titles(columns))
    yield "|---" * (len(columns) + 1) + "|"
    for letter, level in LEVELS.items():
        asked = [one for one in rows if one.level == letter]
        yield _row(f"{level} ({len(asked)})", *(_counts(column, asked) for column in columns))


def _counts(column: Column, asked: list[Case]) -> str:
    marks = [column.mark(one) for one in asked]
    told = [f"{marks.count(word)} {word}" for word in COUNTED if word in marks]
    return ", ".join(told) or NOT_RUN


def _table(columns: list[Column], rows: list[Case]) -> Iterator[str]:
    yield _row("id", "level", "source", "why", *(one.title for one in columns))
    yield "|---" * (len(columns) + 4) + "|"
    for case in rows:
        why = case.reason.replace("|", "\\|")
        marks = (column.mark(case) for column in columns)
        yield _row(case.id, LEVELS[case.level], case.source, why, *marks)


def _notes(columns: list[Column], rows: list[Case]) -> Iterator[str]:
    """Yield the notes that are needed, those of the same words together."""
    for case in rows:
        said: dict[str, list[str]] = {}
        for column in columns:
            if column.mark(case) in ("otherwise", "fail") and (note := column.note(case)):
                said.setdefault(note, []).append(column.title)
        for note, titles in said.items():
            yield f"- {case.id}, {', '.join(titles)}: {note}"


def _settings() -> Iterator[str]:
    yield _row("server", "setting", "so that")
    yield "|---|---|---|"
    for title, settings in SETTINGS.items():
        for setting, reason in settings.items():
            yield _row(title, f"`{setting}`", reason)


def _absences(columns: list[Column]) -> Iterator[str]:
    for column in columns:
        if column.absence:
            yield f"\n{column.title} was not run: {column.absence}"
