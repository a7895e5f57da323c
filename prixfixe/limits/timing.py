"""How long a session may take: idle, in all, and for its data.

Owns: the clocks of one session and what they say (`Pace`), and the choice of who gives way when
every place is taken (`Shedding`).
Promises: pure; progress costs two assignments; only the peer's time counts, never that of the
store, of a password check or of memory that is waited for.
Refuses: closing anything; timers; reply codes of its own.

Theory of `paid_at`: a session owes SMTP_MIN_DATA_RATE octets for every second of its place, and
what it sends moves `paid_at` towards now, never past it. So `now - paid_at` is for how many seconds
nothing was sent for the place, and one octet before each deadline buys one octet's worth of time.
A client at the rate owes nothing; one that is silent for less than the allowance, then makes up
for it, loses nothing. It is what Postfix does with smtpd_min_data_rate.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Limits", "Overdue", "Pace", "Shedding", "Turn"]

# The least the rate is averaged over: a lost segment may stop TCP for as long (RFC 6298).
MIN_AVERAGED_SECONDS = 60.0
_SOON = 0.001  # timers may fire this early


class Limits(NamedTuple):
    """What is granted; `math.inf` is no limit, a rate of 0 none either."""

    idle_seconds: float
    session_seconds: float
    octets_per_second: float
    store_seconds: float


class Turn(enum.Enum):
    """Whose time is running."""

    OURS = enum.auto()
    THEIRS = enum.auto()
    THEIR_DATA = enum.auto()  # theirs, and message data is due


class Overdue(enum.Enum):
    """Why a session must end."""

    SESSION = enum.auto()  # it lasts too long, whatever it does
    IDLE = enum.auto()
    DATA = enum.auto()  # its message data comes too slowly


class Pace:
    """The clocks of one session."""

    __slots__ = ("_limits", "_seconds_per_octet", "active_at", "opened_at", "paid_at")

    def __init__(self, limits: Limits, now: float) -> None:
        rate = limits.octets_per_second
        self._limits = limits
        self._seconds_per_octet = 1 / rate if rate else math.inf
        self.opened_at = self.active_at = self.paid_at = now

    def heard(self, now: float) -> None:
        """Note that something was taken, but no message data."""
        self.active_at = now

    def progressed(self, now: float, octets: int) -> None:
        """Note that something was taken, and how many octets of data are among it."""
        self.active_at = now
        paid = self.paid_at + octets * self._seconds_per_octet
        self.paid_at = min(now, paid)

    def touch(self, now: float) -> None:
        """Note that what the peer waited for is done: it owes nothing for the time it took."""
        self.active_at = self.paid_at = now

    def owed_seconds(self, now: float) -> float:
        """Return for how long the session has sent nothing worth its place."""
        return now - self.paid_at

    def overdue(self, now: float, turn: Turn, data_since: float) -> Overdue | None:
        """Return why the session must end now, or None."""
        limits = self._limits
        if now - self.opened_at > limits.session_seconds - _SOON:
            self._limits = limits._replace(session_seconds=math.inf)  # Said once.
            return Overdue.SESSION
        if turn is Turn.OURS:
            return None
        if now - self.active_at > limits.idle_seconds - _SOON:
            return Overdue.IDLE
        if turn is Turn.THEIR_DATA:
            allowed = max(limits.idle_seconds, MIN_AVERAGED_SECONDS)
            if now - max(self.paid_at, data_since) > allowed - _SOON:
                return Overdue.DATA
        return None

    def seconds_to_look(self, now: float, turn: Turn) -> float:
        """Return when to ask again.

        Whose turn it is may change meanwhile, so it is never longer than the store is given.
        """
        limits = self._limits
        since = now if turn is Turn.OURS else self.active_at
        idle = since + limits.idle_seconds - now
        session = self.opened_at + limits.session_seconds - now
        return max(min(idle, session, limits.store_seconds, MIN_AVERAGED_SECONDS), _SOON)


class Place(Protocol):
    """A session as `Shedding` sees it."""

    def owed_seconds(self, now: float) -> float:
        """For how long it has earned nothing; 0 when its time is ours."""
        ...

    def give_way(self) -> None:
        """Free the place."""
        ...


class Shedding:
    """Choose who gives way to a newcomer when every place is taken.

    It is the session that has owed the longest, if that is more than `after` seconds: whoever sends
    mail, or came a moment ago, stays. Looking at all sessions is paid by the first newcomer only;
    those that follow take the next of the same list, and while nobody can owe enough yet, nobody
    is looked at.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._ranked: list[Place] = []
        self._look_at = -math.inf

    def pick(self, places: Iterable[Place], now: float) -> Place | None:
        """Return who gives way, or None."""
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
