"""A limit on the records per second of an event that clients can provoke."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["MAX_RECORDS", "WINDOW_SECONDS", "LogThrottle"]

MAX_RECORDS = 10  # of one event in a window
WINDOW_SECONDS = 1.0


class LogThrottle:
    """Count the records of each event in a window of WINDOW_SECONDS.

    At the end of a window `report(event, count)` is called for each event of which records were
    withheld. With a loop the window also ends when no further record comes.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        report: Callable[[str, int], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._clock = clock
        self._report = report
        self._loop = loop
        self._since = clock()
        self._counts: dict[str, int] = {}

    def allows(self, event: str) -> bool:
        """Count one record; return whether it may be written."""
        if self._clock() - self._since >= WINDOW_SECONDS:
            self.end_window()
        count = self._counts[event] = self._counts.get(event, 0) + 1
        if count == MAX_RECORDS + 1:
            self._end_window_later()
        return count <= MAX_RECORDS

    def end_window(self) -> None:
        """Report what was withheld and begin a new window."""
        counts, self._counts = self._counts, {}
        self._since = self._clock()
        for event, count in counts.items():
            if count > MAX_RECORDS:
                self._report(event, count - MAX_RECORDS)

    def _end_window_later(self) -> None:
        """Have the loop end this window; any thread may call this."""
        if self._loop is not None:
            # A loop that is closed has no timers. The window then ends with the log's last flush.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(
                    self._loop.call_later, WINDOW_SECONDS, self._end_this_window, self._since
                )

    def _end_this_window(self, since: float) -> None:
        if since == self._since:
            self.end_window()
