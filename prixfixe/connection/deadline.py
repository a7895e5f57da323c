"""The timeouts of one connection, and the timer that checks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.limits.timing import Pace

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from prixfixe.limits.timing import Limits, Overdue, Turn

__all__ = ["Deadline"]


class Deadline:
    """The timeouts of a connection; `data_since` is the loop time when message data began, or 0."""

    __slots__ = ("_data_octets", "_loop", "_pace", "_progress", "_timer", "data_since")

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._loop = loop
        self._pace = Pace(limits, loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._progress = 0
        self._data_octets = 0
        self.data_since = 0.0

    @property
    def opened_at(self) -> float:
        """The loop time at which the connection was accepted."""
        return self._pace.opened_at

    def progressed(self, progress: int, data_octets: int, *, is_data_due: bool) -> None:
        """Note how much the client has sent so far, and whether it owes message data."""
        if progress != self._progress:
            self._progress = progress
            if data_octets == self._data_octets:
                self._pace.active_at = self._loop.time()
            else:
                self._pace.progressed(self._loop.time(), data_octets - self._data_octets)
                self._data_octets = data_octets
        if is_data_due:
            if not self.data_since:
                self.data_since = self._loop.time()
        elif self.data_since:
            self.data_since = 0.0

    def touch(self) -> None:
        """Restart the clocks: the client waited for the server until now."""
        self._pace.touch(self._loop.time())

    def owed_seconds(self, now: float) -> float:
        """Return for how many seconds the client has sent too little."""
        return self._pace.owed_seconds(now)

    def overdue(self, turn: Turn) -> Overdue | None:
        """Return why the session must end now, or None."""
        return self._pace.overdue(self._loop.time(), turn, self.data_since)

    def start(self, turn: Turn, look: Callable[[], None]) -> None:
        """Call `look` when a timeout may have passed."""
        wait = self._pace.seconds_to_look(self._loop.time(), turn)
        self.start_in(wait, look)

    def start_in(self, seconds: float, look: Callable[[], None]) -> None:
        """Call `look` in so many seconds, in place of any earlier timer."""
        self.stop()
        self._timer = self._loop.call_later(seconds, look)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
