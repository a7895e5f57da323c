"""Whose input is worked on next, when many connections have more of it than one slice.

Connections that have work left wait in one queue. Each turn of the event loop works on the queue
for TURN_SECONDS at most, so a flood of commands delays a client outside the queue by one turn only.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["TURN_SECONDS", "Turns"]

TURN_SECONDS: Final = 0.002


class Worker(Protocol):
    """A connection as `Turns` sees it."""

    def take_turn(self) -> None:
        """Work on a slice of the input; `Turns.add` again if there is more."""


class Turns:
    """The connections that have work left, first come first served."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._queue: deque[Worker] = deque()

    def add(self, worker: Worker) -> None:
        """Give this connection a turn after those that already wait; it must not wait twice."""
        self._queue.append(worker)
        if len(self._queue) == 1:
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        until = self._clock() + TURN_SECONDS
        try:
            self._take_turns(until)
        finally:
            if self._queue:
                self._loop.call_soon(self._work)

    def _take_turns(self, until: float) -> None:
        """Let each of those who wait now take one turn, as long as there is time."""
        queue = self._queue
        for _ in range(len(queue)):
            try:
                queue[0].take_turn()  # It stays in the queue meanwhile, so `add` schedules nothing.
            finally:
                queue.popleft()
            if self._clock() >= until:
                return
