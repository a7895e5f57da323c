"""A connection that a fault holds back or cuts short."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.faults.registry import Faults

__all__ = ["CutShort", "Hold"]


class Hold:
    """One pause of a session, counted among those of the server until it is released."""

    __slots__ = ("_faults", "_timer", "is_stall")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        faults: Faults | None,
        seconds: float,
        go_on: Callable[[], None],
    ) -> None:
        self._faults = faults
        self.is_stall = math.isinf(seconds)
        self._timer = None if self.is_stall else loop.call_later(seconds, go_on)
        if faults is not None:
            faults.hold()

    def release(self) -> None:
        """Count the connection no longer, and do not go on by the timer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._faults is not None:
            self._faults.release()


class CutShort(asyncio.Protocol):
    """Stands before a connection, passes on so many bytes of the client, then calls `end`."""

    def __init__(self, connection: asyncio.Protocol, octets: int, end: Callable[[], None]) -> None:
        self._connection = connection
        self._left = octets
        self._end = end

    def data_received(self, data: bytes) -> None:
        """Pass on what may still come."""
        taken = data[: self._left]
        self._left -= len(taken)
        if taken:
            self._connection.data_received(taken)
        if self._left <= 0:
            self._end()

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on."""
        self._connection.connection_lost(exc)
