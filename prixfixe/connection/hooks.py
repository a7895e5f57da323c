"""What a connection knows of a handler: which commands it decides about, and how it is asked.

`prixfixe/handlers` has the other side. Without a handler none of this is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prixfixe.mail.message import Envelope
    from prixfixe.smtp.commands import Verb
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.requests import Decide
    from prixfixe.smtp.session import Session

__all__ = ["Dialogue", "HandlerError", "HookedConnection", "Hooks"]


class HandlerError(Exception):
    """The handler that the settings name cannot be used (exit code 2)."""


class HookedConnection(Protocol):
    """A connection as a handler's dialogue sees it."""

    session: Session

    @property
    def transport(self) -> Any:  # noqa: ANN401 - the transports of loops have no common class
        """The transport, or None once the client is gone."""
        ...

    def keep(self, envelope: Envelope, body: bytes) -> None:
        """Store a message that the handler accepted."""
        ...

    def declined(self, envelope: Envelope, reply: Reply) -> None:
        """Answer a message that the handler did not accept."""
        ...

    def proxied(self, *, is_welcome: bool) -> None:
        """Go on after the PROXY header, or close."""
        ...

    def answered(self) -> None:
        """Continue after an answer that did not come at once."""
        ...

    def cut(self) -> None:
        """Abort the connection."""
        ...


class Dialogue(Protocol):
    """A handler's part in one connection; each call is answered by the session or connection."""

    @property
    def server(self) -> Any:  # noqa: ANN401 - the handler's view of the connection
        """The object that hooks are called with."""
        ...

    def decide(self, request: Decide) -> None:
        """Ask about a command; the answer is `Session.decided`."""
        ...

    def respond(self, line: bytes) -> None:
        """Pass on the client's answer to a challenge."""
        ...

    def take(self, envelope: Envelope, body: bytes) -> None:
        """Ask about a message: `HookedConnection.keep`, `declined` or `Session.taken`."""
        ...

    def proxy(self, header: bytes) -> None:
        """Ask about a valid PROXY header: `HookedConnection.proxied`."""
        ...

    def encrypted(self) -> Reply | None:
        """Return the refusal of all commands after this TLS handshake, or None."""
        ...

    def drop(self) -> bool:
        """Stop what the handler is doing, as the client is gone; return whether it did a thing."""
        ...


class Hooks(Protocol):
    """The hooks of a handler, shared by all connections.

    `verbs` is the table of commands, those that the handler decides about ask. `wants_message` and
    `wants_header` say whether messages and PROXY headers are asked about.
    """

    verbs: Mapping[bytes, Verb]
    wants_message: bool
    wants_header: bool

    def open(self, connection: HookedConnection) -> Dialogue:
        """Begin the dialogue of one connection."""
        ...
