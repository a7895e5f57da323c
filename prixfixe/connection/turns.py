"""A queue of the connections that have more input than one slice of work.

Each turn of the event loop works on the queue for at most TURN_SECONDS, so that a flood of commands
delays a client outside the queue by one turn only.
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
        """Process one slice of the input; call `Turns.add` again if there is more."""


class Turns:
    """The connections that have more input to process, first come first served."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._queue: deque[Worker] = deque()

    def add(self, worker: Worker) -> None:
        """Add this connection at the end of the queue; it must not be in the queue already."""
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
        """Give each connection in the queue one turn, until the time is over."""
        queue = self._queue
        for _ in range(len(queue)):
            try:
                queue[0].take_turn()  # It stays in the queue for now, so `add` schedules nothing.
            finally:
                queue.popleft()
            if self._clock() >= until:
                return
