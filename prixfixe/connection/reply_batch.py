"""The replies of one turn of the event loop, sent together at its end.

A client with many connections, or one that shares the processors, is then woken once for all of
them and not once for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["MAX_SENDERS", "ReplyBatch"]

MAX_SENDERS: Final = 64  # connections: about half a millisecond of work


class Sender(Protocol):
    """A connection as `ReplyBatch` sees it."""

    def flush(self) -> None:
        """Send all due replies, if the client can receive them."""


class ReplyBatch:
    """The connections that have replies to send at the end of this turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._senders: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """Send this connection's replies at the end of this turn, or sooner."""
        senders = self._senders
        senders.append(sender)
        if len(senders) == 1:
            self._loop.call_soon(self._send)
        elif len(senders) == MAX_SENDERS:
            self._send()

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()
