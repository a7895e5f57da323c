"""Standard output as a log's sink: whole lines, as few writes as can be.

Owns: the lines not yet written.
Promises: lines keep their order; those of one turn of the event loop leave in one write, those that
may wait within DEFER_SECONDS; a reader that went away stops nothing,
and with an `Outlet` nor does one that does not read.
Refuses: what a line says (see `logs`).
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["DEFER_SECONDS", "MAX_DEFERRED", "LineSink", "Stream"]

DEFER_SECONDS = 0.05
MAX_DEFERRED = 200  # lines, about 50 kB: a pipe takes 64 KiB without a wait


def _ignore(_level: str) -> None:
    """Count nothing."""


class Stream(Protocol):
    """What lines are written to: a text file, or an `Outlet`, which never waits."""

    def write(self, text: str, /) -> int:
        """Take whole lines."""
        ...

    def flush(self) -> None:
        """Send them on."""
        ...

    def isatty(self) -> bool:
        """Tell whether a person may be reading."""
        ...


class LineSink:
    """Write lines to a stream, those of one turn of the event loop together.

    The lines that come thousands of times a second, `defer` holds a little longer: a system call
    for each turn would take more time than making the lines. Order is kept.
    """

    def __init__(self, stream: Stream, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._stream = stream
        self._loop = loop
        self._thread = threading.get_ident()  # the loop's, which makes the sink
        self._lines: list[str] = []
        self._is_deferred = False
        self.count: Callable[[str], None] = _ignore

    def msg(self, line: str) -> None:
        """Take one line, from any thread; the lines are touched in the loop's alone."""
        if self._loop is not None and threading.get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # The loop was closed: then it is written here.
                self._loop.call_soon_threadsafe(self.msg, line)
                return
        self._lines.append(line)
        if self._loop is None or self._loop.is_closed():
            self.flush()
        elif len(self._lines) == 1 or self._is_deferred:
            self._is_deferred = False
            self._loop.call_soon(self.flush)

    debug = info = warning = error = critical = msg

    def defer(self, line: str) -> None:
        """Take one line on the event loop that may wait for DEFER_SECONDS, unless many do."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= MAX_DEFERRED or self._loop is None:
            self.flush()
        elif len(lines) == 1:
            self._is_deferred = True
            self._loop.call_later(DEFER_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was taken."""
        self._is_deferred = False
        if count := len(self._lines):
            text = "\n".join([*self._lines[:count], ""])
            del self._lines[:count]  # no more: after the loop's end another thread may add one
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # Whoever read our output is gone; mail goes on.
                pass
