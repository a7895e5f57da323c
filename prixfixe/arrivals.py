"""Tell those who wait that a message was kept.

Owns: the waiters of the API's long poll.
Promises: a waiter that subscribed before it looked at what is there misses nothing; every waiter
sees every message, in order; publishing costs nothing when nobody waits.
Refuses: more waiters than its bound, and judging messages (see `query`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from prixfixe.message import Message

__all__ = ["Arrivals", "Subscription", "TooManyWaitersError"]

MAX_WAITERS = 1000
MAX_QUEUED = 10_000  # references to messages just kept; beyond, the waiter looks at the store again


class TooManyWaitersError(Exception):
    """No more waiters are taken now."""


class Subscription:
    """A waiter's view, used as a context manager: `async with`-free, since leaving never blocks."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._queue: asyncio.Queue[str | None] = asyncio.Queue(MAX_QUEUED)

    def __enter__(self) -> Subscription:
        self._arrivals.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._arrivals.remove(self)

    def offer(self, message_id: str | None) -> None:
        """Note an arrival; None means no more will come."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(message_id)

    async def next(self) -> str | None:
        """Wait for the next message's id; None when the server is closing."""
        return await self._queue.get()


class Arrivals:
    """The waiters of one server; event loop only."""

    def __init__(self) -> None:
        self._waiters: dict[Subscription, None] = {}
        self._is_closed = False

    def add(self, waiter: Subscription) -> None:
        """Take one more waiter.

        Raises:
            TooManyWaitersError: the bound is reached.

        """
        if len(self._waiters) >= MAX_WAITERS:
            raise TooManyWaitersError
        self._waiters[waiter] = None
        if self._is_closed:
            waiter.offer(None)

    def remove(self, waiter: Subscription) -> None:
        """Forget a waiter."""
        self._waiters.pop(waiter, None)

    def publish(self, message: Message) -> None:
        """Tell everyone who waits that this message is kept and readable."""
        for waiter in self._waiters:
            waiter.offer(message.id)

    def close(self) -> None:
        """Let every waiter go: nothing more will come."""
        self._is_closed = True
        for waiter in self._waiters:
            waiter.offer(None)
