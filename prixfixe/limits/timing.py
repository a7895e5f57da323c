"""Time limits of a session, and the choice of the session to end when all places are taken.

Only the client's time counts, not that of the store, of a password check or of waiting for memory.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Limits", "Overdue", "Pace", "Shedding", "Turn"]

# The data rate is averaged over at least this: a lost segment may stop TCP for as long (RFC 6298).
MIN_AVERAGED_SECONDS = 60.0
_TIMER_SLACK = 0.001  # timers may fire this early


class Limits(NamedTuple):
    """The limits of a session; `math.inf` and a rate of 0 mean no limit."""

    idle_seconds: float
    session_seconds: float
    octets_per_second: float
    store_seconds: float


class Turn(enum.Enum):
    """Who must act next."""

    SERVER = enum.auto()
    CLIENT = enum.auto()
    CLIENT_DATA = enum.auto()  # the client, which owes message data


class Overdue(enum.Enum):
    """Why a session must end."""

    SESSION = enum.auto()  # it lasts too long
    IDLE = enum.auto()  # the client sent nothing for too long
    DATA = enum.auto()  # message data comes too slowly


class Pace:
    """The clocks of one session, in seconds of any monotonic clock.

    A session owes SMTP_MIN_DATA_RATE bytes for every second of its place. What it sends moves
    `paid_at` towards now, but never past it, so `now - paid_at` is for how many seconds nothing was
    sent. One byte before each deadline buys only one byte's worth of time. A client at the rate
    owes nothing. One that pauses within the allowance and then catches up loses nothing.
    """

    __slots__ = ("_limits", "_seconds_per_octet", "active_at", "opened_at", "paid_at")

    def __init__(self, limits: Limits, now: float) -> None:
        rate = limits.octets_per_second
        self._limits = limits
        self._seconds_per_octet = 1 / rate if rate else math.inf
        self.opened_at = self.active_at = self.paid_at = now

    def progressed(self, now: float, octets: int) -> None:
        """Note that the client sent something, with so many bytes of message data."""
        self.active_at = now
        paid = self.paid_at + octets * self._seconds_per_octet
        self.paid_at = min(now, paid)

    def touch(self, now: float) -> None:
        """Restart the clocks: the client waited for the server until now."""
        self.active_at = self.paid_at = now

    def owed_seconds(self, now: float) -> float:
        """Return for how many seconds the client has sent too little."""
        return now - self.paid_at

    def overdue(self, now: float, turn: Turn, data_since: float) -> Overdue | None:
        """Return why the session must end now, or None."""
        limits = self._limits
        if now - self.opened_at > limits.session_seconds - _TIMER_SLACK:
            self._limits = limits._replace(session_seconds=math.inf)  # This is reported once.
            return Overdue.SESSION
        if turn is Turn.SERVER:
            return None
        if now - self.active_at > limits.idle_seconds - _TIMER_SLACK:
            return Overdue.IDLE
        if turn is Turn.CLIENT_DATA:
            allowed = max(limits.idle_seconds, MIN_AVERAGED_SECONDS)
            if now - max(self.paid_at, data_since) > allowed - _TIMER_SLACK:
                return Overdue.DATA
        return None

    def seconds_to_look(self, now: float, turn: Turn) -> float:
        """Return in how many seconds to check again.

        The turn may change meanwhile, so this is at most the time limit of the store.
        """
        limits = self._limits
        since = now if turn is Turn.SERVER else self.active_at
        idle = since + limits.idle_seconds - now
        session = self.opened_at + limits.session_seconds - now
        return max(min(idle, session, limits.store_seconds, MIN_AVERAGED_SECONDS), _TIMER_SLACK)


class Place(Protocol):
    """A session as `Shedding` sees it."""

    def owed_seconds(self, now: float) -> float:
        """Return for how many seconds it has sent too little; 0 while the server works for it."""
        ...

    def give_way(self) -> None:
        """End the session and free its place."""
        ...


class Shedding:
    """Choose the session to end for a new one when every place is taken.

    It is the one that has sent too little for longest, if that is more than `after` seconds. The
    sessions are sorted for the first new one. Later ones use the rest of the same list. While no
    session can have exceeded `after`, the sessions are not looked at.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._ranked: list[Place] = []
        self._look_at = -math.inf

    def pick(self, places: Iterable[Place], now: float) -> Place | None:
        """Return the session to end, or None."""
        if not self._after:
            return None
        while self._ranked:
            place = self._ranked.pop()
            if place.owed_seconds(now) > self._after:
                return place
        if now < self._look_at:
            return None
        owed = sorted(
            ((place.owed_seconds(now), place) for place in places), key=lambda pair: pair[0]
        )
        self._ranked = [place for seconds, place in owed if seconds > self._after]
        patient = owed[: len(owed) - len(self._ranked)]
        self._look_at = now + self._after - (patient[-1][0] if patient else 0.0)
        return self._ranked.pop() if self._ranked else None
