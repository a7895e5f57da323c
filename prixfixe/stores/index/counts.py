"""How many messages matched the latest searches that walk over all of them.

Such a walk takes half a second for a million messages. The page of an inbox repeats it for each
message that comes, so only what is new is counted then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prixfixe.stores.index.plan import Sql

__all__ = ["CountCache", "Counts"]

_SEARCHES = 32


class Counts(NamedTuple):
    """How many messages, and how many of them are not read."""

    messages: int
    unread: int


class _Known(NamedTuple):
    """The counts of the documents up to `last`, after so many changes of the index."""

    changes: int
    last: int
    counts: Counts


class CountCache:
    """The counts of the latest conditions; a change of messages makes them void."""

    def __init__(self) -> None:
        self._known: dict[Sql, _Known] = {}

    def get(self, where: Sql, changes: int) -> tuple[int, Counts] | None:
        """Return the last document that was counted, and the counts up to it."""
        known = self._known.get(where)
        return None if known is None or known.changes != changes else (known.last, known.counts)

    def put(self, where: Sql, changes: int, last: int, counts: Counts) -> None:
        """Keep counts, in the place of the oldest if there are many."""
        self._known.pop(where, None)
        self._known[where] = _Known(changes, last, counts)
        if len(self._known) > _SEARCHES:
            del self._known[next(iter(self._known))]
