"""What a read-back adapter is."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prixfixe.verify.dialogue.servers import UnseenError

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.targets.base import Machine

__all__ = ["Nothing", "Place", "Readback"]


@dataclass(frozen=True)
class Place:
    """Where an adapter reads: the server, the port of HTTP if any, the table of the contract."""

    machine: Machine
    http_port: int | None
    options: dict[str, Any]


class Readback(abc.ABC):
    """Reads what one server stored.

    `is_at_once`: what was acknowledged can be read at once; otherwise the verifier sends a message
    of its own and waits for it, so that all before it was delivered. `outlives`: it can be read
    after the server ended.
    """

    is_at_once = True
    knows_order = True
    has_envelopes = True
    outlives = False

    def __init__(self, place: Place) -> None:
        self.place = place

    @abc.abstractmethod
    def read(self) -> list[Stored]:
        """Return all messages, oldest first.

        Raises:
            UnseenError: they cannot be read.

        """

    def clear(self) -> None:
        """Forget all messages, or remember which there are."""

    def messages(self) -> list[Stored]:
        """Return the messages since `clear`."""
        return self.read()

    def close(self) -> None:
        """Let go."""


class Nothing(Readback):
    """No read-back: replies are judged, and what is stored cannot be."""

    def read(self) -> list[Stored]:
        raise UnseenError("no read-back: what is stored cannot be seen")
