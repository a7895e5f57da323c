"""What the clients of a server in this process are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prixfixe.connection.connection import Connection
from prixfixe.mail.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SessionSeen", "seen_sessions"]


class SessionSeen(NamedTuple):
    """A client that is connected; `sender` and `recipients` are of its open transaction, folded."""

    peer: str
    sender: str | None
    recipients: tuple[str, ...]


def seen_sessions(connections: Iterable[object]) -> list[SessionSeen]:
    """Return what the clients are doing; in the thread of their loop."""
    found = []
    for one in connections:
        if isinstance(one, Connection):
            state = one.session.state
            transaction = state.transaction
            sender = None if transaction is None else fold(transaction.sender)
            to = () if transaction is None else transaction.recipients
            found.append(SessionSeen(state.peer, sender, tuple(fold(each.address) for each in to)))
    return found
