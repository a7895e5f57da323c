"""How many records of an event that clients can provoke leave in a second.

Owns: the counts of one log.
Promises: in a window of WINDOW_SECONDS at most RECORDS of an event are admitted; those beyond are
counted, and the count is told when the window is over.
Refuses: which events these are (see `events`), and writing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["RECORDS", "WINDOW_SECONDS", "Restraint"]

RECORDS = 10
WINDOW_SECONDS = 1.0


class Restraint:
    """`tell` is given an event and how many of its records were withheld."""

    def __init__(
        self,
        clock: Callable[[], float],
        tell: Callable[[str, int], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._loop = loop
        self._since = clock()
        self._counts: dict[str, int] = {}

    def admits(self, event: str) -> bool:
        """Count one record and say whether it may be written."""
        if self._clock() - self._since >= WINDOW_SECONDS:
            self.settle()
        count = self._counts[event] = self._counts.get(event, 0) + 1
        if count == RECORDS + 1:
            self._settle_later()
        return count <= RECORDS

    def settle(self) -> None:
        """Tell what was withheld and begin a new window."""
        counts, self._counts = self._counts, {}
        self._since = self._clock()
        for event, count in counts.items():
            if count > RECORDS:
                self._tell(event, count - RECORDS)

    def _settle_later(self) -> None:
        """Have the window settled though no other record comes; any thread may ask."""
        if self._loop is not None:
            with contextlib.suppress(
                RuntimeError
            ):  # The loop is closed: `settle` comes at the end.
                self._loop.call_soon_threadsafe(
                    self._loop.call_later, WINDOW_SECONDS, self._settle_window, self._since
                )

    def _settle_window(self, since: float) -> None:
        if since == self._since:
            self.settle()
