"""What clients tried and did not bring to its end, for whoever asks why a mail did not come.

The number, the age and the size of the attempts are bounded. Everything runs in the event loop.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.smtp.address import comparable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prixfixe.smtp.transcript import Transcript

__all__ = ["MAX_AGE_SECONDS", "MAX_ATTEMPTS", "Attempt", "Attempts", "Tried"]

MAX_ATTEMPTS = 1000
MAX_AGE_SECONDS = 3600.0
MAX_RECIPIENTS = 20  # of one attempt that are kept
MAX_CHARACTERS = 320  # of one address, and of a name in HELO


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

    def names(self, pattern: str) -> bool:
        """Whether it names a recipient: an address, or `@` and a domain."""
        return any(_is_mailbox(pattern, one) for one in self.tried.recipients)

    def is_from(self, pattern: str) -> bool:
        """Whether this is its sender: an address, `@` and a domain, or "" for a bounce."""
        return _is_mailbox(pattern, self.tried.sender)


def _is_mailbox(pattern: str, address: str) -> bool:
    wanted, given = comparable(pattern), comparable(address)
    return wanted == given or (wanted.startswith("@") and given.rpartition("@")[2] == wanted[1:])


class Attempts:
    """The last attempts, oldest first; `ids` makes an id and the time."""

    def __init__(self, ids: Callable[[], tuple[str, float]]) -> None:
        self._ids = ids
        self._kept: deque[Attempt] = deque(maxlen=MAX_ATTEMPTS)

    def add(
        self, tried: Tried, session: str, peer: str, helo: str, transcript: Transcript | None
    ) -> None:
        """Remember an attempt; the oldest goes beyond the bound."""
        name, now = self._ids()
        short = tried._replace(
            sender=tried.sender[:MAX_CHARACTERS],
            recipients=tuple(one[:MAX_CHARACTERS] for one in tried.recipients[:MAX_RECIPIENTS]),
        )
        named = len(tried.recipients)
        helo = helo[:MAX_CHARACTERS]
        self._kept.append(Attempt(name, now, session, peer, helo, short, named, transcript))

    def found(
        self,
        *,
        to: str | None = None,
        sender: str | None = None,
        since: tuple[float, str] | None = None,
        limit: int = MAX_ATTEMPTS,
    ) -> list[Attempt]:
        """Return the newest `limit` that match, oldest first; `since` is a time and an id."""
        oldest = self._ids()[1] - MAX_AGE_SECONDS
        while self._kept and self._kept[0].at < oldest:
            self._kept.popleft()
        found = [
            one
            for one in self._kept
            if (to is None or one.names(to))
            and (sender is None or one.is_from(sender))
            and (since is None or _is_after(one, since))
        ]
        return found[len(found) - limit :] if len(found) > limit else found


def _is_after(attempt: Attempt, since: tuple[float, str]) -> bool:
    at, name = since
    # Ids tell apart what is of one millisecond, which a time of an id does not.
    return (int(attempt.at * 1000), attempt.id) > (int(at * 1000 + 0.001), name)
