"""The memory budget for message data, shared by all sessions.

It never hands out more than its total, and it cannot deadlock: see `Budget`.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

__all__ = ["Budget", "Holder"]


class Holder(Protocol):
    """A session as the budget sees it; it must be hashable."""

    def budget_granted(self) -> None:
        """Continue: the memory that was asked for is reserved."""


class Budget:
    """Share `total` bytes between messages, none of which holds more than `max_holding`.

    A holder that had to wait stays in the queue until it releases. The first in the queue is the
    elder. A grant to any other holder leaves free what the elder may still need: `max_holding` less
    what it holds, or all of `max_holding` while the queue is empty. So the elder can always finish,
    and its release leaves enough for the next elder. This is Dijkstra's banker's algorithm with one
    credit line for all. Waits end in the order in which they began.
    """

    def __init__(self, total: int, max_holding: int) -> None:
        if total < max_holding:
            msg = f"a budget of {total} bytes cannot hold one message of {max_holding}"
            raise ValueError(msg)
        self._total = total
        self._max_holding = max_holding
        self._free = total
        self._held: dict[Holder, int] = {}
        self._wanted: dict[Holder, int] = {}
        self._queue: dict[Holder, None] = {}
        self._granted: deque[Holder] = deque()
        self._is_telling = False

    @property
    def total(self) -> int:
        """The size of the budget in bytes."""
        return self._total

    @property
    def in_use(self) -> int:
        """The bytes held by all messages together."""
        return self._total - self._free

    @property
    def waiting(self) -> int:
        """The number of waiting holders."""
        return len(self._wanted)

    def request(self, holder: Holder, nbytes: int) -> bool:
        """Reserve `nbytes` more; False means to wait until `budget_granted` is called.

        Raises:
            ValueError: the holder would exceed `max_holding`.

        """
        held = self._held.get(holder, 0) + nbytes
        left = self._free - nbytes
        if self._queue or left < self._max_holding or held > self._max_holding:
            return self._request_queued(holder, nbytes)
        self._held[holder] = held
        self._free = left
        return True

    def release(self, holder: Holder) -> None:
        """Release all that the holder has or waits for, and grant waiters. Twice is harmless."""
        self._free += self._held.pop(holder, 0)
        if self._queue:
            self._queue.pop(holder, None)
            self._wanted.pop(holder, None)
            if holder in self._granted:
                self._granted.remove(holder)
            self._grant_waiters()

    def _request_queued(self, holder: Holder, nbytes: int) -> bool:
        wanted = self._wanted.get(holder, 0) + nbytes
        if self._held.get(holder, 0) + wanted > self._max_holding:
            msg = f"a message may hold {self._max_holding} bytes, no more"
            raise ValueError(msg)
        # Only the elder may overtake waiting holders.
        may_go = self._is_elder(holder) or (not self._wanted and self._fits(holder, wanted))
        if not may_go:
            self._queue.setdefault(holder)
            may_go = self._is_elder(holder)  # The reserve is there for the first that must wait.
        if may_go:
            self._hold(holder, wanted)
        else:
            self._wanted[holder] = wanted
        return may_go

    def _is_elder(self, holder: Holder) -> bool:
        return next(iter(self._queue), None) is holder

    def _fits(self, holder: Holder, nbytes: int) -> bool:
        elder = next(iter(self._queue), None)
        elders = self._held.get(elder, 0) if elder is not None else 0
        return elder is holder or self._free - nbytes >= self._max_holding - elders

    def _hold(self, holder: Holder, nbytes: int) -> None:
        self._held[holder] = self._held.get(holder, 0) + nbytes
        self._free -= nbytes

    def _grant_waiters(self) -> None:
        for holder in [holder for holder in self._queue if holder in self._wanted]:
            if not self._fits(holder, self._wanted[holder]):
                break
            self._hold(holder, self._wanted.pop(holder))
            self._granted.append(holder)
        self._tell()

    def _tell(self) -> None:
        """Call the granted holders one by one; a grant made by a callback is called here too."""
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._granted:
                self._granted.popleft().budget_granted()
        finally:
            self._is_telling = False
