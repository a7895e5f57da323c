"""Standard output of the server, written by a thread of its own: nobody waits for its reader.

Owns: what was written and is not out yet.
Promises: `write` returns at once, whoever reads; texts keep their order and are taken whole or not
at all; MAX_OCTETS are held, or one text; what comes beyond is dropped, counted, and told when all
before it is out; a reader that went away stops nothing.
Refuses: what the lines say. It does not use `sys.stdout`, whose lock a thread that is stuck in a
write would keep, and with it the end of the process.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING

from prixfixe.runtime import threads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLOSE_SECONDS", "MAX_OCTETS", "Outlet"]

MAX_OCTETS = 4 << 20  # about a second of the records of all the mail that two cores take
CLOSE_SECONDS = 1.0


def _ignore(_count: int) -> None:
    """Count nothing."""


class Outlet:
    """A text stream over a file descriptor, with its thread.

    `dropped(count)` is called when lines are dropped, by whoever writes, or in the thread when they
    cannot be written; `resumed(count)` in the thread, when all that was held is out after that.
    Both must not block.
    """

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._changed = threading.Condition()
        self._held: deque[bytes] = deque()
        self._octets = 0
        self._dropped = 0
        self._is_idle = True
        self._is_torn = False
        self.dropped: Callable[[int], None] = _ignore
        self.resumed: Callable[[int], None] = _ignore
        threads.start("stdout", self._run)

    def isatty(self) -> bool:
        """Tell whether a person may be reading."""
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """Take whole lines, from any thread."""
        octets = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            has_room = not self._held or self._octets + len(octets) <= MAX_OCTETS
            if has_room:
                self._hold(octets)
            else:
                self._dropped += text.count("\n")
        if not has_room:
            self.dropped(text.count("\n"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: what was taken is on its way."""

    def finish(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait so long for all to be out, and tell whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_idle, seconds)

    def _hold(self, octets: bytes) -> None:
        self._held.append(octets)
        self._octets += len(octets)
        if self._is_idle:
            self._is_idle = False
            self._changed.notify_all()

    # --- the thread

    def _run(self) -> None:
        while True:
            octets = self._next()
            is_out = self._write(octets)
            if dropped := self._wrote(is_out=is_out):
                with contextlib.suppress(Exception):  # The thread must outlive who is told.
                    self.resumed(dropped)
            if not is_out:
                self.dropped(octets.count(b"\n"))

    def _next(self) -> bytes:
        with self._changed:
            while not self._held:
                self._is_idle = True
                self._changed.notify_all()
                self._changed.wait()
            return self._held[0]

    def _wrote(self, *, is_out: bool) -> int:
        """Let go of what is out or lost; return how many lines are to be told of."""
        with self._changed:
            octets = self._held.popleft()
            self._octets -= len(octets)
            if not is_out:
                self._dropped += octets.count(b"\n")
            if self._held or not is_out:
                return 0
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _write(self, octets: bytes) -> bool:
        """Write all of a text; after one that was cut short the next begins a line."""
        whole = b"\n" + octets if self._is_torn else octets
        rest = memoryview(whole)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody who shares it made it so
                select.select((), (self._descriptor,), ())
            except OSError:  # Whoever read our output is gone, or the disk is full; mail goes on.
                self._is_torn = self._is_torn or len(rest) < len(whole)
                return False
        self._is_torn = False
        return True
