"""What a run shows on a terminal: a bar while it plays, then what was not passed, then a table."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from prixfixe.verify.cases import GROUPS, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.verify.cases import Result
    from prixfixe.verify.play import Run

__all__ = ["progress", "summary"]

_LONGEST = 400
_TOLD = (Outcome.FAIL, Outcome.ERROR)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[Result], None]]:
    """Yield a function that is told each result; it draws a bar where a terminal and rich are."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda _result: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: list[Any] = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda result: bar.update(task, advance=1, description=result.case.id)


def summary(run: Run) -> str:
    """Return the failures, then the counts of each group, then the verdict."""
    return "\n".join([*_faults(run), *_table(run), "", f"{run.bench.source.name}: {run.verdict}"])


def _faults(run: Run) -> Iterator[str]:
    for one in run.results:
        if one.outcome in _TOLD:
            why = one.why if len(one.why) <= _LONGEST else f"{one.why[:_LONGEST]}…"
            yield f"{one.outcome.upper()} {one.case.id} ({one.severity}; {one.case.source})"
            yield f"  promised: {one.case.title}"
            yield f"  seen: {why}"
            yield ""


def _table(run: Run) -> Iterator[str]:
    width = max(len(f"{name} {text}") for name, text in GROUPS.items())
    yield f"{'group':{width}} " + " ".join(f"{one:>12}" for one in Outcome)
    for name, text in GROUPS.items():
        found = Counter(one.outcome for one in run.results if one.case.group == name)
        if found:
            counts = " ".join(f"{found[one]:>12}" for one in Outcome)
            yield f"{f'{name} {text}':{width}} {counts}"
    if storage := Counter(one.storage for one in run.results if one.storage):
        told = ", ".join(f"{count} {word}" for word, count in sorted(storage.items()))
        yield f"  of PF-SMTP, replies are right, and what is stored: {told}"
