"""What a client that is connected is doing, for whoever asks whether mail is still to come."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OpenSession"]


class OpenSession(NamedTuple):
    """A session; `sender` is of its last MAIL, `recipients` of the transaction that is open."""

    session: str
    peer: str
    helo: str
    sender: str
    recipients: tuple[str, ...]
