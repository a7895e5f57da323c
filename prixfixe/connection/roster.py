"""Who is connected, who waits for the store, and who still reads a last reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable

    from prixfixe.limits.timing import Shedding

__all__ = ["MAX_LINGERING", "Roster"]

MAX_LINGERING: Final = 64


class Client(Protocol):
    """A connection as the roster sees it."""

    def is_client(self) -> bool:
        """Whether it takes a client's place."""
        ...

    def owed_seconds(self, now: float) -> float:
        """For how long it has earned nothing; 0 when its time is ours."""
        ...

    def give_way(self) -> None:
        """Free the place."""
        ...

    def cut(self) -> None:
        """End without a word."""
        ...

    def drain(self) -> None:
        """End when what is under way is answered."""
        ...

    def abort(self) -> None:
        """End now."""
        ...


class Roster:
    """The connections of a server.

    `lingering` holds those that ended and whose client has yet to read it, the eldest first.
    `pending` holds who waits for the store and since when, the longest first. `explained` counts
    refused connections that shake hands so that they can be told why.
    """

    def __init__(self, max_pending: int, store_seconds: float) -> None:
        self._max_pending = max_pending
        self._store_seconds = store_seconds
        self.connections: set[Client] = set()
        self.lingering: dict[Client, None] = {}
        self.pending: dict[Hashable, float] = {}
        self.explained = 0
        self.is_draining = False
        self.is_empty = asyncio.Event()  # set once the last connection ended while draining

    def add(self, connection: Client) -> None:
        """Take a connection in."""
        self.connections.add(connection)

    def remove(self, connection: Client) -> None:
        """Forget a connection whose transport is gone."""
        self.connections.discard(connection)
        self.lingering.pop(connection, None)
        if self.is_draining and not self.connections:
            self.is_empty.set()

    def make_room(self, shedding: Shedding, now: float) -> bool:
        """End the session that least deserves its place, if there is one that does not."""
        places = (one for one in self.connections if one.is_client())
        place = shedding.pick(places, now)
        if place is not None:
            place.give_way()
        return place is not None

    def linger(self, connection: Client) -> None:
        """Let a client read its last reply; when there are too many, the eldest is cut.

        Clients that are refused again and again would keep all others out otherwise.
        """
        self.lingering[connection] = None
        if len(self.lingering) > MAX_LINGERING:
            next(iter(self.lingering)).cut()

    def explain(self, most: int) -> bool:
        """Count one more refused connection that may be told why, if there are not too many."""
        is_allowed = self.explained < most
        self.explained += is_allowed
        return is_allowed

    def explained_one(self) -> None:
        """Count one that was told why, or left, less."""
        self.explained -= 1

    def waits_for_store(self, who: Hashable, since: float) -> None:
        """Note who waits for the store."""
        self.pending[who] = since

    def store_answered(self, who: Hashable) -> None:
        """Note that the store answered."""
        del self.pending[who]

    def is_store_stuck(self, now: float) -> bool:
        """Whether messages wait for the store for too long, or in a number beyond all sessions."""
        if not self.pending:
            return False
        longest = now - next(iter(self.pending.values()))
        return longest > self._store_seconds or len(self.pending) > self._max_pending

    def drain(self) -> None:
        """Ask every connection to end."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.drain()
        if not self.connections:
            self.is_empty.set()

    def abort(self) -> None:
        """End every connection now."""
        for connection in list(self.connections):
            connection.abort()
