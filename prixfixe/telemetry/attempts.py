"""What clients tried and did not bring to its end, for whoever asks why a mail did not come.

The number, the age and the size of the attempts are bounded. Everything runs in the event loop.
"""

from __future__ import annotations

from collections import deque
from sys import getsizeof
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.smtp.address import MailboxPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prixfixe.smtp.transcript import Transcript

__all__ = [
    "MAX_AGE_SECONDS",
    "MAX_ATTEMPTS",
    "MAX_OCTETS",
    "Attempt",
    "Attempts",
    "Tried",
    "newest_first",
]

MAX_ATTEMPTS = 1000
MAX_OCTETS = 8 * 1024 * 1024  # of memory for all attempts, without their transcripts
MAX_AGE_SECONDS = 3600.0
MAX_RECIPIENTS = 20  # of one attempt that are kept
MAX_CHARACTERS = 320  # of one address, and of a name in HELO
_OBJECT_OCTETS = 512  # of an attempt without its texts


class Tried(NamedTuple):
    """What a session tried: the stage it came to, whom it named, and what it was told."""

    stage: str
    sender: str = ""
    recipients: Sequence[str] = ()
    reply: str = ""
    reason: str = ""


class Attempt(NamedTuple):
    """One attempt; `at` is in seconds since the epoch, and ids have the order of attempts.

    `named` is how many recipients it named, of which `tried` has the first ones.
    """

    id: str
    at: float
    session: str
    peer: str
    helo: str
    tried: Tried
    named: int
    transcript: Transcript | None

    @property
    def octets(self) -> int:
        """About how many bytes of memory it takes without its transcript."""
        texts = (self.id, self.session, self.peer, self.helo, self.tried.sender, self.tried.reply)
        return _OBJECT_OCTETS + sum(map(getsizeof, (*texts, *self.tried.recipients)))


class Attempts:
    """The last attempts, oldest first; `ids` makes an id and the time."""

    def __init__(self, ids: Callable[[], tuple[str, float]]) -> None:
        self._ids = ids
        self._kept: deque[Attempt] = deque()
        self._octets = 0

    def add(
        self, tried: Tried, session: str, peer: str, helo: str, transcript: Transcript | None
    ) -> None:
        """Remember an attempt; the oldest ones go beyond the bounds."""
        name, now = self._ids()
        short = tried._replace(
            sender=tried.sender[:MAX_CHARACTERS],
            recipients=tuple(one[:MAX_CHARACTERS] for one in tried.recipients[:MAX_RECIPIENTS]),
        )
        named = len(tried.recipients)
        helo = helo[:MAX_CHARACTERS]
        attempt = Attempt(name, now, session, peer, helo, short, named, transcript)
        self._kept.append(attempt)
        self._octets += attempt.octets
        while len(self._kept) > MAX_ATTEMPTS or self._octets > MAX_OCTETS:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._octets -= self._kept.popleft().octets

    def recent(self) -> list[Attempt]:
        """Return what is remembered, oldest first."""
        oldest = self._ids()[1] - MAX_AGE_SECONDS
        while self._kept and self._kept[0].at < oldest:
            self._forget_oldest()
        return list(self._kept)


def newest_first(
    attempts: Sequence[Attempt],
    *,
    to: str | None = None,
    sender: str | None = None,
    since: tuple[float, str] | None = None,
) -> Iterator[Attempt]:
    """Yield those that match, newest first; any thread may ask.

    `to` and `sender` are an address, or `@` and a domain; a bounce has the sender "". `since` is a
    time in seconds and an id.
    """
    names = None if to is None else MailboxPattern(to).matches
    is_sender = None if sender is None else MailboxPattern(sender).matches
    for one in reversed(attempts):
        if (
            (names is None or any(map(names, one.tried.recipients)))
            and (is_sender is None or is_sender(one.tried.sender))
            and (since is None or _is_after(one, since))
        ):
            yield one


def _is_after(attempt: Attempt, since: tuple[float, str]) -> bool:
    at, name = since
    # Ids tell apart what is of one millisecond, which a time of an id does not.
    return (int(attempt.at * 1000), attempt.id) > (int(at * 1000 + 0.001), name)
