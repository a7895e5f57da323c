"""The hooks of a handler as connections know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.handlers.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prixfixe.connection.hooks import HookedConnection
    from prixfixe.handlers.hooks import HookTable
    from prixfixe.smtp.commands import Verb

__all__ = ["HandlerHooks"]


class HandlerHooks:
    """What a handler decides about, and the dialogues with it (`prixfixe.connection.hooks`)."""

    def __init__(self, table: HookTable) -> None:
        self._table = table
        self.verbs: Mapping[bytes, Verb] = table.verbs
        self.wants_message = table.wants_message
        self.wants_header = table.wants_header

    def open(self, connection: HookedConnection) -> Conversation:
        """Begin the dialogue of one connection."""
        return Conversation(self._table, connection)
