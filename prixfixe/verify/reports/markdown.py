"""Markdown, for the summary of a workflow's run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prixfixe.verify.cases import GROUPS, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.play import Run

__all__ = ["report"]

_LONGEST = 300


def report(run: Run) -> str:
    """Return the counts by group, then what was not passed."""
    return "\n".join([*_head(run), *_groups(run), *_faults(run)]) + "\n"


def _head(run: Run) -> Iterator[str]:
    mark = "✅" if run.exit_code == 0 else "❌"
    yield f"## {mark} {_cell(run.bench.source.name)}: {run.verdict}"
    yield ""
    bench = run.bench
    yield f"Level {run.level}, read-back {bench.readback}, seed {bench.seed}, {run.seconds:.0f} s."
    yield ""


def _groups(run: Run) -> Iterator[str]:
    yield f"| group | {' | '.join(Outcome)} |"
    yield "|---" * (len(Outcome) + 1) + "|"
    for group, text in GROUPS.items():
        found = Counter(one.outcome for one in run.results if one.case.group == group)
        if found:
            yield f"| {group} {text} | {' | '.join(str(found[one]) for one in Outcome)} |"
    yield ""


def _faults(run: Run) -> Iterator[str]:
    bad = [one for one in run.results if one.outcome in (Outcome.FAIL, Outcome.ERROR)]
    if not bad:
        return
    yield "| case | severity | what is promised | what was seen |"
    yield "|---|---|---|---|"
    for one in sorted(bad, key=lambda one: ("must", "should", "may").index(one.severity)):
        yield f"| {one.case.id} | {one.severity} | {_cell(one.case.title)} | {_cell(one.why)} |"


def _cell(text: str) -> str:
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    for mark in "\\`*_|<>[]":
        short = short.replace(mark, f"\\{mark}")
    return " ".join(short.split())
