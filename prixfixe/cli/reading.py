"""The messages of a store one after the other, for commands that want all of them.

Owns: what is said of those that cannot be had. Promises: a damaged one is named on standard error
and counted, and so is one that is listed and not there, unless it was deleted meanwhile; the rest
comes in the order asked for.
Refuses: to open the store (see `environment`), and to hold more than one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.cli.environment import complain
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Reader

__all__ = ["Reading"]


class Reading:
    """One walk over a store; when it is over, `damaged` is how many could not be had."""

    def __init__(self, reader: Reader, ids: Iterable[str]) -> None:
        self.damaged = 0
        self._reader = reader
        self._ids = ids

    def __iter__(self) -> Iterator[Message]:
        missing: list[str] = []
        for message_id in self._ids:
            try:
                message = self._reader.get(message_id)
            except DamagedError as error:
                self.name_damaged(error)
                continue
            if message is None:
                missing.append(message_id)
            else:
                yield message
        listed = set(self._reader.ids()) if missing else set()
        for message_id in missing:
            if message_id in listed:  # else deleted while we read
                self.name_damaged(f"message {message_id!a} is listed and not there")

    def name_damaged(self, fault: object) -> None:
        """Say of a message that it cannot be had, and count it."""
        complain(fault)
        self.damaged += 1
