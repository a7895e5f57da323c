"""The replies of one turn of the event loop, sent together at its end.

A reply wakes its client. A client with many connections, or one that shares the processors, would
be woken, and go to sleep again, for every single one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["MOST", "ReplyBatch"]

MOST: Final = 64  # connections: about half a millisecond of work


class Sender(Protocol):
    """A connection as `ReplyBatch` sees it."""

    def flush(self) -> None:
        """Send what is due, if that is possible."""


class ReplyBatch:
    """Who has replies to send at the end of this turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._senders: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """Have this connection's replies sent soon."""
        senders = self._senders
        senders.append(sender)
        if len(senders) == 1:
            self._loop.call_soon(self._send)
        elif len(senders) == MOST:
            self._send()

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()
