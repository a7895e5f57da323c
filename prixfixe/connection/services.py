"""What all sessions of a server share.

Owns: the bundle of collaborators handed to each connection.
Promises: nothing in it belongs to one session only.
Refuses: behaviour; each collaborator has its own room.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Network, IPv6Network

    from prixfixe.auth.authenticator import Authenticator
    from prixfixe.connection.arrival import Entrance
    from prixfixe.connection.delivery import Delivery
    from prixfixe.connection.reply_batch import Outbox
    from prixfixe.connection.seat import Placed
    from prixfixe.connection.turns import Turns
    from prixfixe.limits.admission import Admission
    from prixfixe.limits.memory import Budget
    from prixfixe.limits.timing import Limits, Shedding
    from prixfixe.mail.message import IdSource
    from prixfixe.stores.arrivals import Arrivals
    from prixfixe.stores.base import Store
    from prixfixe.telemetry.log import Log
    from prixfixe.telemetry.metrics import Metrics
    from prixfixe.tls.certificates import Certificates

__all__ = ["Context", "session_ids"]


def session_ids() -> Iterator[str]:
    """Yield ids for the records of connections: a random number for the server, then a counter."""
    server = os.urandom(4).hex()
    for count in itertools.count(1):
        yield f"{server}{count:08x}"


def _no_doubt() -> None:
    """Take the place of a readiness nobody asks."""


@dataclass(slots=True)
class Context:
    """The server as a session sees it.

    `lingering` holds sessions that ended and whose peer has yet to read it, the eldest first;
    `pending` holds who waits for the store and since when, the longest first; `doubt` is
    called when the store failed a message.
    """

    loop: asyncio.AbstractEventLoop
    store: Store
    metrics: Metrics
    arrivals: Arrivals
    admission: Admission
    budget: Budget
    ids: IdSource
    session_ids: Iterator[str]
    outbox: Outbox
    turns: Turns
    log: Log
    limits: Limits
    shedding: Shedding
    max_pending: int
    certificates: Certificates | None = None
    authenticator: Authenticator | None = None
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    sessions: set[Entrance] = field(default_factory=set)
    lingering: dict[Placed, None] = field(default_factory=dict)
    pending: dict[Delivery, float] = field(default_factory=dict)
    explained: int = 0  # refused connections in a handshake so that they can be told why
    is_draining: bool = False
    doubt: Callable[[], None] = _no_doubt
    no_sessions: asyncio.Event = field(default_factory=asyncio.Event)

    def is_store_stuck(self) -> bool:
        """Whether messages wait for the store for too long, or in a number beyond all sessions."""
        if not self.pending:
            return False
        longest = self.loop.time() - next(iter(self.pending.values()))
        return longest > self.limits.store_seconds or len(self.pending) > self.max_pending
