"""The parts that all connections of a server share."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Network, IPv6Network

    from prixfixe.auth.authenticator import Authenticator
    from prixfixe.connection.hooks import Hooks
    from prixfixe.connection.reply_batch import ReplyBatch
    from prixfixe.connection.roster import Roster
    from prixfixe.connection.turns import Turns
    from prixfixe.faults.registry import Faults
    from prixfixe.limits.admission import Admission
    from prixfixe.limits.memory import Budget
    from prixfixe.limits.timing import Limits, Shedding
    from prixfixe.mail.message import IdSource
    from prixfixe.stores.arrivals import Arrivals
    from prixfixe.stores.base import Store
    from prixfixe.telemetry.attempts import Attempts
    from prixfixe.telemetry.log import Log
    from prixfixe.telemetry.metrics import Metrics

__all__ = ["Services", "session_ids"]


def session_ids() -> Iterator[str]:
    """Yield session ids for the log: a random number of the server, then a counter."""
    server = os.urandom(4).hex()
    for count in itertools.count(1):
        yield f"{server}{count:08x}"


class Serving(Protocol):
    """The certificate that is served."""

    @property
    def context(self) -> ssl.SSLContext:
        """The context of the next handshake."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the server that all connections share.

    `invalidate` is called when the store failed a message, so that readiness is checked again.
    """

    loop: asyncio.AbstractEventLoop
    store: Store
    metrics: Metrics
    arrivals: Arrivals
    admission: Admission
    budget: Budget
    roster: Roster
    ids: IdSource
    session_ids: Iterator[str]
    reply_batch: ReplyBatch
    turns: Turns
    log: Log
    limits: Limits
    shedding: Shedding
    invalidate: Callable[[], None]
    attempts: Attempts
    certificates: Serving | None = None
    authenticator: Authenticator | None = None
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    faults: Faults | None = None
    header_seconds: float = 30.0  # for a PROXY header
    is_silent_to_proxies: bool = False  # that send no valid header: closed without a reply
    hooks: Hooks | None = None  # of a handler
