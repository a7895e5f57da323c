"""A cache of message summaries, bounded by their size in memory."""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prixfixe.http.api.mailpit import Entry
    from prixfixe.mail.query import Searchable

__all__ = ["MAX_OCTETS", "Listed", "Summaries"]

MAX_OCTETS = 8 * 1024 * 1024  # of usual mail some 5000, of the worst a hundred


class Listed(NamedTuple):
    """A message in a list, and what searches look at, the body apart."""

    entry: Entry
    search: Searchable


class Summaries:
    """Summaries by id, bounded by what they take."""

    def __init__(self) -> None:
        self._by_id: dict[str, Listed] = {}
        self._octets = 0

    @property
    def octets(self) -> int:
        """What they take."""
        return self._octets

    def get(self, message_id: str) -> Listed | None:
        """Return a summary if it is remembered."""
        return self._by_id.get(message_id)

    def add(self, summary: Listed) -> None:
        """Remember a summary that is not yet, and forget the oldest beyond the bound."""
        self._by_id[summary.entry.id] = summary
        self._octets += _weight(summary)
        while self._octets > MAX_OCTETS:
            self._octets -= _weight(self._by_id.pop(next(iter(self._by_id))))


def _weight(summary: Listed) -> int:
    """Return the bytes a summary and its place in the dictionary take, a little more than true."""
    parts = (summary, summary.entry, *summary.entry, summary.search, *summary.search)
    return 100 + sum(map(getsizeof, parts))
