"""A progress bar on standard error, if that is a terminal and rich is installed."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prixfixe.runtime.extras import has

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rich.progress import Progress

    from prixfixe.load.outcome import Outcome

__all__ = ["shown"]

_EVERY_SECONDS = 0.1


@asynccontextmanager
async def shown(outcomes: Sequence[Outcome], messages: int) -> AsyncIterator[None]:
    """Show the progress of these outcomes towards `messages`, until the block is left."""
    if not (sys.stderr.isatty() and has("rich")):
        yield
        return
    with _bar(messages) as bar:
        following = asyncio.ensure_future(_follow(bar, outcomes))
        try:
            yield
        finally:
            following.cancel()
            _update(bar, outcomes)


def _bar(messages: int) -> Progress:
    from rich import progress  # of an extra
    from rich.console import Console

    bar = progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[trouble]} refused or failed"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.add_task("load", total=messages, trouble=0)
    return bar


async def _follow(bar: Progress, outcomes: Sequence[Outcome]) -> None:
    while True:
        _update(bar, outcomes)
        await asyncio.sleep(_EVERY_SECONDS)


def _update(bar: Progress, outcomes: Sequence[Outcome]) -> None:
    accepted = sum(one.accepted for one in outcomes)
    trouble = sum(one.refused + one.failed for one in outcomes)
    bar.update(bar.task_ids[0], completed=accepted + trouble, trouble=trouble)
