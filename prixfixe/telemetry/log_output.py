"""Standard output as the destination of the log: lines are batched, and a thread writes them.

Neither the event loop nor a session ever waits for the reader of standard output.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from prixfixe.runtime import threads

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = [
    "DEFER_SECONDS",
    "DRAIN_SECONDS",
    "MAX_BYTES",
    "MAX_DEFERRED",
    "LineBuffer",
    "OutputThread",
    "Stream",
]

DEFER_SECONDS = 0.05
MAX_DEFERRED = 200  # lines, about 50 kB: a pipe holds 64 KiB without blocking
MAX_BYTES = 4 << 20  # about a second of records of two cores that only receive mail
DRAIN_SECONDS = 1.0


class Stream(Protocol):
    """What lines are written to: a text file or an `OutputThread`."""

    def write(self, text: str, /) -> int:
        """Take whole lines."""
        ...

    def flush(self) -> None:
        """Send on what was taken."""
        ...

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        ...


class LineBuffer:
    """Lines that are not yet written to a stream.

    The lines of one turn of the event loop are written with one call, in their order. Lines that
    come thousands of times a second wait for up to DEFER_SECONDS, because a system call in every
    turn would cost more than making the lines. Errors of the stream are ignored.
    """

    def __init__(self, stream: Stream, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._stream = stream
        self._loop = loop
        self._thread = threading.get_ident()  # of the loop, whose thread makes the buffer
        self._lines: list[str] = []
        self._is_deferred = False

    def add(self, line: str) -> None:
        """Take a line and write it in this turn of the loop; any thread may call this.

        Without a loop, or when it is closed, the line is written at once.
        """
        if self._loop is not None and threading.get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # The loop is closed: go on in this thread.
                self._loop.call_soon_threadsafe(self.add, line)
                return
        self._lines.append(line)
        if self._loop is None or self._loop.is_closed():
            self.flush()
        elif len(self._lines) == 1 or self._is_deferred:
            self._is_deferred = False
            self._loop.call_soon(self.flush)

    def add_deferred(self, line: str) -> None:
        """Take a line that may wait for DEFER_SECONDS; only the loop's thread may call this."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= MAX_DEFERRED or self._loop is None:
            self.flush()
        elif len(lines) == 1:
            self._is_deferred = True
            self._loop.call_later(DEFER_SECONDS, self.flush)

    def flush(self) -> None:
        """Write all lines."""
        self._is_deferred = False
        if count := len(self._lines):
            text = "\n".join([*self._lines[:count], ""])
            # Once the loop is closed another thread may have added a line since.
            del self._lines[:count]
            # The reader of the stream may have gone; the server continues.
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()


def _ignore(_count: int) -> None:
    """Do nothing: the default callback."""


class OutputThread:
    """A text stream over a file descriptor that a thread of its own writes to.

    `write` never blocks. Texts keep their order and are taken whole or not at all. At most
    MAX_BYTES wait, or one larger text; a text beyond that is dropped.

    `on_dropped(lines)` is called when a text is dropped: by the thread that called `write`, or by
    the writing thread when the descriptor cannot be written to. `on_resumed(lines)` is called by
    the writing thread once everything that waited is written. Neither may block.

    A stream that `is_held` writes nothing before `release` or `drain` is called.

    It does not use `sys.stdout`: a thread stuck in a write would keep the lock of that, and the
    process could not end.
    """

    def __init__(self, descriptor: int, encoding: str = "utf-8", *, is_held: bool = False) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._is_held = is_held
        self._changed = threading.Condition()
        self._texts: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._is_idle = True
        self._is_cut_short = False
        self.on_dropped: Callable[[int], None] = _ignore
        self.on_resumed: Callable[[int], None] = _ignore
        threads.start("stdout", self._run)

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """Take whole lines, from any thread."""
        encoded = self._encode(text)
        with self._changed:
            has_room = not self._size or self._size + len(encoded) <= MAX_BYTES
            if has_room:
                self._texts.append(encoded)
                self._size += len(encoded)
                if self._is_idle:
                    self._wake()
            else:
                self._dropped += text.count("\n")
        if not has_room:
            self.on_dropped(text.count("\n"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread is writing already."""

    def release(self, first: str) -> None:
        """Write a text, then the held ones, and hold none from now on."""
        encoded = self._encode(first)
        with self._changed:
            self._texts.appendleft(encoded)
            self._size += len(encoded)
            self._is_held = False
            self._wake()

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Wait up to `seconds` until everything is written; return whether it is."""
        with self._changed:
            self._is_held = False
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._is_idle, seconds)

    def _encode(self, text: str) -> bytes:
        return text.encode(self._encoding, "backslashreplace")

    def _wake(self) -> None:
        self._is_idle = False
        self._changed.notify_all()

    # --- the thread

    def _run(self) -> None:
        while True:
            encoded = self._next()
            is_written = self._write(encoded)
            if dropped := self._forget(encoded, is_written=is_written):
                with contextlib.suppress(Exception):  # The thread must outlive the callback.
                    self.on_resumed(dropped)
            if not is_written:
                self.on_dropped(encoded.count(b"\n"))

    def _next(self) -> bytes:
        with self._changed:
            while self._is_held or not self._texts:
                self._is_idle = not self._texts
                self._changed.notify_all()
                self._changed.wait()
            return self._texts.popleft()

    def _forget(self, encoded: bytes, *, is_written: bool) -> int:
        """Free the room of a written or lost text; return how many lost lines to report."""
        with self._changed:
            self._size -= len(encoded)
            if not is_written:
                self._dropped += encoded.count(b"\n")
            if self._texts or not is_written:
                return 0
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _write(self, encoded: bytes) -> bool:
        """Write a whole text; after one that was cut short, begin on a new line."""
        whole = b"\n" + encoded if self._is_cut_short else encoded
        rest = memoryview(whole)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # A process that shares the descriptor made it non-blocking.
                select.select((), (self._descriptor,), ())
            except OSError:  # The reader has gone, or the disk is full; the server continues.
                self._is_cut_short = self._is_cut_short or len(rest) < len(whole)
                return False
        self._is_cut_short = False
        return True
