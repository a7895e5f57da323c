"""Which clients are connected, wait for the store, or still read a last reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable

    from prixfixe.limits.timing import Shedding
    from prixfixe.telemetry.sessions import OpenSession

__all__ = ["MAX_LINGERING", "Roster"]

MAX_LINGERING: Final = 64


class Client(Protocol):
    """A connection as the roster sees it."""

    def seen(self) -> OpenSession:
        """Return what it is doing."""
        ...

    def is_client(self) -> bool:
        """Whether it counts as a client."""
        ...

    def owed_seconds(self, now: float) -> float:
        """Return for how many seconds it has sent too little; 0 while the server works for it."""
        ...

    def give_way(self) -> None:
        """End the session and free its place."""
        ...

    def cut(self) -> None:
        """Abort without a reply."""
        ...

    def drain(self) -> None:
        """End once the current message is answered."""
        ...

    def abort(self) -> None:
        """Send due replies and abort."""
        ...


class Roster:
    """The connections of a server.

    `lingering` holds connections that are closed but whose client may still read the last reply,
    oldest first. `pending` maps messages that wait for the store to the loop time when they began,
    oldest first. `explained` counts refused connections that do a handshake before the refusal.
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
        """Add a connection."""
        self.connections.add(connection)

    def seen(self) -> list[OpenSession]:
        """Return what the clients are doing."""
        return [one.seen() for one in self.connections]

    def remove(self, connection: Client) -> None:
        """Remove a connection whose transport is gone."""
        self.connections.discard(connection)
        self.lingering.pop(connection, None)
        if self.is_draining and not self.connections:
            self.is_empty.set()

    def make_room(self, shedding: Shedding, now: float) -> bool:
        """End the session that `shedding` picks; return whether there was one."""
        places = (one for one in self.connections if one.is_client())
        place = shedding.pick(places, now)
        if place is not None:
            place.give_way()
        return place is not None

    def linger(self, connection: Client) -> None:
        """Let a client read its last reply; if there are too many, abort the oldest.

        Otherwise clients that are refused again and again would keep all others out.
        """
        self.lingering[connection] = None
        if len(self.lingering) > MAX_LINGERING:
            next(iter(self.lingering)).cut()

    def explain(self, most: int) -> bool:
        """Count one more refused connection that may do a handshake, unless there are `most`."""
        is_allowed = self.explained < most
        self.explained += is_allowed
        return is_allowed

    def explained_one(self) -> None:
        """Stop counting a refused connection that did a handshake: it is gone."""
        self.explained -= 1

    def waits_for_store(self, who: Hashable, since: float) -> None:
        """Note that `who` waits for the store since this loop time."""
        self.pending[who] = since

    def store_answered(self, who: Hashable) -> None:
        """Note that the store answered."""
        del self.pending[who]

    def is_store_stuck(self, now: float) -> bool:
        """Whether a message waits for the store for too long, or too many messages wait."""
        if not self.pending:
            return False
        longest = now - next(iter(self.pending.values()))
        return longest > self._store_seconds or len(self.pending) > self._max_pending

    def drain(self) -> None:
        """End every connection once its current message is answered."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.drain()
        if not self.connections:
            self.is_empty.set()

    def abort(self) -> None:
        """Abort every connection now."""
        for connection in list(self.connections):
            connection.abort()
