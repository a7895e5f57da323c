"""The event loop's time for HTTP connections that have input.

One run takes `SLICE_SECONDS` and at most one step more. Between runs, at least `PAUSE_SECONDS` are
for everything else, above all for mail. The connection with the least cost so far is served first.
"""

from __future__ import annotations

import heapq
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["READ_OCTETS", "SLICE_SECONDS", "Turns"]

SLICE_SECONDS: Final = 0.002
PAUSE_SECONDS: Final = 0.001  # libuv's timers count milliseconds
READ_OCTETS: Final = 16 * 1024  # of one read


class Turn(Protocol):
    """A connection as its turn sees it; `cost` is in seconds, all turns of it together."""

    cost: float

    def step(self) -> tuple[bool, float]:
        """Take a small piece; return whether more waits, and what it costs the loop later."""
        ...


class Turns:
    """The connections that wait for a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[float, int, Turn]] = []
        self._numbers = count()
        self._is_due = False
        # One for all connections of a loop: what is read there is copied before the next read.
        # Another loop, in another thread, must not write to it meanwhile.
        self.read_view = memoryview(bytearray(READ_OCTETS))

    def want(self, one: Turn) -> None:
        """Give a connection a turn soon; it may not ask again before it had that."""
        heapq.heappush(self._waiting, (one.cost, next(self._numbers), one))
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        """Serve until the slice is used up, then let the loop do everything else."""
        left = SLICE_SECONDS
        try:
            while self._waiting and left > 0:
                left -= self._serve(heapq.heappop(self._waiting)[2])
        finally:  # A defect that ends one turn ends no other.
            self._is_due = bool(self._waiting)
            if self._is_due:
                self._loop.call_later(PAUSE_SECONDS, self._run)

    def _serve(self, one: Turn) -> float:
        since = perf_counter()
        wants_more, later = one.step()
        cost = perf_counter() - since + later
        one.cost += cost
        if wants_more:
            heapq.heappush(self._waiting, (one.cost, next(self._numbers), one))
        return cost
