"""What all sessions of a server share.

Owns: the bundle of collaborators handed to each connection.
Promises: nothing in it belongs to one session only.
Refuses: behaviour; each collaborator has its own room.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Network, IPv6Network

    from prixfixe.arrivals import Arrivals
    from prixfixe.auth import Authenticator
    from prixfixe.limits import Admission, Budget
    from prixfixe.logs import Log
    from prixfixe.message import IdSource
    from prixfixe.metrics import Metrics
    from prixfixe.session.entrance import Entrance
    from prixfixe.stores.base import Store
    from prixfixe.tls import Certificates

__all__ = ["Context"]


def _no_doubt() -> None:
    """Take the place of a readiness nobody asks."""


@dataclass(slots=True)
class Context:
    """The server as a session sees it.

    `timeout` is idle seconds; `doubt` is called when the store failed a message.
    """

    loop: asyncio.AbstractEventLoop
    store: Store
    metrics: Metrics
    arrivals: Arrivals
    admission: Admission
    budget: Budget
    ids: IdSource
    log: Log
    timeout: float
    certificates: Certificates | None = None
    authenticator: Authenticator | None = None
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    sessions: set[Entrance] = field(default_factory=set)
    explained: int = 0  # refused connections in a handshake so that they can be told why
    is_draining: bool = False
    doubt: Callable[[], None] = _no_doubt
    no_sessions: asyncio.Event = field(default_factory=asyncio.Event)
