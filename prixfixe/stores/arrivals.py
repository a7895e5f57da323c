"""Notification of requests that wait for mail; everything runs on the event loop.

A waiter sees every message published after it subscribed, in order. So a caller that subscribes
first and then searches the store misses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prixfixe.mail.message import Message

__all__ = ["Arrivals", "ArrivalsClosedError", "Subscription", "TooManyWaitersError"]

# A waiter takes a socket, a task and a few kB; 256 is far above what a test suite opens.
_MAX_WAITERS = 256
# Ids a slow waiter may leave unread; beyond it, the waiter has to search the store again.
_MAX_BACKLOG = 1024


class TooManyWaitersError(Exception):
    """The bound on waiters is reached: answer 503."""


class ArrivalsClosedError(Exception):
    """The server stops, and nobody waits any longer: answer 503."""


class Subscription:
    """One waiter's view: the ids that arrived since it was last asked."""

    __slots__ = ("_has_missed", "_ids", "_is_closed", "_wakeup")

    def __init__(self, backlog: int) -> None:
        self._ids: deque[str] = deque(maxlen=backlog)
        self._wakeup = asyncio.Event()
        self._is_closed = False
        self._has_missed = False

    def add(self, message_id: str) -> None:
        """Note an arrival; the oldest goes when the backlog is full, and is noted as missed."""
        self._has_missed = self._has_missed or len(self._ids) == self._ids.maxlen
        self._ids.append(message_id)
        self._wakeup.set()

    def take_missed(self) -> bool:
        """Whether ids were lost since this was last asked: if so, search the store now."""
        has_missed, self._has_missed = self._has_missed, False
        return has_missed

    def close(self) -> None:
        """Wake the waiter for the last time."""
        self._is_closed = True
        self._wakeup.set()

    async def arrived(self) -> list[str]:
        """Wait until something arrived and return all ids not yet seen, oldest first.

        Raises:
            ArrivalsClosedError: the server stops.

        """
        await self._wakeup.wait()
        if self._is_closed:
            raise ArrivalsClosedError
        self._wakeup.clear()
        ids = list(self._ids)
        self._ids.clear()
        return ids


class Arrivals:
    """Announce kept messages to those who wait."""

    def __init__(self, *, max_waiters: int = _MAX_WAITERS, backlog: int = _MAX_BACKLOG) -> None:
        self._subscriptions: set[Subscription] = set()
        self._max_waiters = max_waiters
        self._backlog = backlog
        self._is_closed = False
        self.follower: Callable[[Message], None] | None = None  # the index, if there is one

    @property
    def waiters(self) -> int:
        """How many wait now."""
        return len(self._subscriptions)

    def publish(self, message: Message) -> None:
        """Announce a message that is kept and readable; call it before its 250 is sent."""
        if self.follower is not None:
            self.follower(message)
        for subscription in self._subscriptions:
            subscription.add(message.id)

    def announce(self, ids: Sequence[str]) -> None:
        """Announce messages that other servers of the store keep."""
        for subscription in self._subscriptions:
            for message_id in ids:
                subscription.add(message_id)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Receive everything published while the context lasts.

        Raises:
            TooManyWaitersError: the bound is reached.
            ArrivalsClosedError: the server stops.

        """
        if self._is_closed:
            raise ArrivalsClosedError
        if len(self._subscriptions) >= self._max_waiters:
            raise TooManyWaitersError
        subscription = Subscription(self._backlog)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Send every waiter away, and admit no more."""
        self._is_closed = True
        for subscription in self._subscriptions:
            subscription.close()
