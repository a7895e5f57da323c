"""The time of one connection: its clocks and the timer that looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.limits.timing import Pace

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from prixfixe.limits.timing import Limits, Overdue, Turn

__all__ = ["Deadline"]


class Deadline:
    """When a connection must end. `data_since` is when the message data began, or 0."""

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
        """When the connection was accepted, by the loop's clock."""
        return self._pace.opened_at

    def progressed(self, progress: int, data_octets: int, *, is_data_due: bool) -> None:
        """Note what the client has sent so far, and whether message data is due."""
        if progress != self._progress:
            self._progress = progress
            if data_octets == self._data_octets:
                self._pace.heard(self._loop.time())
            else:
                self._pace.progressed(self._loop.time(), data_octets - self._data_octets)
                self._data_octets = data_octets
        if is_data_due:
            if not self.data_since:
                self.data_since = self._loop.time()
        elif self.data_since:
            self.data_since = 0.0

    def touch(self) -> None:
        """Note that what the client waited for is done: it owes nothing for the time it took."""
        self._pace.touch(self._loop.time())

    def owed_seconds(self, now: float) -> float:
        """Return for how long the client has sent nothing worth its place."""
        return self._pace.owed_seconds(now)

    def overdue(self, turn: Turn) -> Overdue | None:
        """Return why the session must end now, or None."""
        return self._pace.overdue(self._loop.time(), turn, self.data_since)

    def start(self, turn: Turn, look: Callable[[], None]) -> None:
        """Call `look` when the time may be over."""
        wait = self._pace.seconds_to_look(self._loop.time(), turn)
        self.start_in(wait, look)

    def start_in(self, seconds: float, look: Callable[[], None]) -> None:
        """Call `look` in so many seconds, and nothing else."""
        self.stop()
        self._timer = self._loop.call_later(seconds, look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
