"""The `server` object that hooks are called with: what handlers use of aiosmtpd's SMTP class.

Its settings and helpers are those of an SMTP object of aiosmtpd that was made but serves nobody.
"""

from __future__ import annotations

import binascii
import inspect
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Protocol

from aiosmtpd.smtp import MISSING, SMTP

if TYPE_CHECKING:
    from aiosmtpd.smtp import Envelope, Session

__all__ = ["OWN_METHODS", "ServerObject"]

# Methods of aiosmtpd's class that run its own protocol; they have no meaning here.
_PROTOCOL = ("smtp_", "connection_", "eof_", "data_", "pause_", "resume_")
OWN_METHODS = ("_call_handler_hook", "_handle_client", "handle_exception")


class Talk(Protocol):
    """The conversation that a server object belongs to."""

    @property
    def loop(self) -> Any:  # noqa: ANN401 - any event loop
        """The loop of the connection."""
        ...

    @property
    def session(self) -> Session:
        """Aiosmtpd's session."""
        ...

    @property
    def envelope(self) -> Envelope:
        """Aiosmtpd's envelope."""
        ...

    @property
    def transport(self) -> Any:  # noqa: ANN401 - the transports of loops have no common class
        """The transport, or None once the client is gone."""
        ...

    def push(self, status: str | bytes) -> None:
        """Send a line."""
        ...

    async def challenge(self, text: bytes) -> bytes:
        """Send a challenge and return the response."""
        ...


class ServerObject:
    """One connection as aiosmtpd's handlers see it; `isinstance(server, SMTP)` holds.

    Handlers may add attributes of their own. What is not here is looked up in `template`.
    """

    def __init__(self, conversation: Talk, template: SMTP) -> None:
        self._conversation = conversation
        self._template = template

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # noqa: ANN401 - so that isinstance holds
        return type(self._template)

    @property
    def loop(self) -> Any:  # noqa: ANN401 - any event loop
        """The loop that serves the connection."""
        return self._conversation.loop

    @property
    def session(self) -> Session:
        """Aiosmtpd's `Session` of the connection."""
        return self._conversation.session

    @property
    def envelope(self) -> Envelope:
        """Aiosmtpd's `Envelope` of the transaction."""
        return self._conversation.envelope

    @property
    def transport(self) -> Any:  # noqa: ANN401 - the transports of loops have no common class
        """The transport, or None once the client is gone."""
        return self._conversation.transport

    @property
    def local_part_limit(self) -> int:
        """The longest local part in characters; 0 is any. It is one for the whole server."""
        return self._template.local_part_limit

    @local_part_limit.setter
    def local_part_limit(self, limit: int) -> None:
        self._template.local_part_limit = limit

    async def push(self, status: str | bytes) -> None:
        """Send one line to the client; during a hook it goes before the reply of the hook.

        Raises:
            UnfitReply: there is a control character in it, or no code before it.

        """
        self._conversation.push(status)

    async def challenge_auth(
        self,
        challenge: str | bytes,
        encode_to_b64: bool = True,  # noqa: FBT001, FBT002 - aiosmtpd's signature
        log_client_response: bool = False,  # noqa: ARG002, FBT001, FBT002
    ) -> Any:  # noqa: ANN401 - bytes, or aiosmtpd's MISSING
        """Send a challenge of AUTH; return the decoded response, or MISSING after a refusal.

        Responses are never logged, whatever `log_client_response` says.
        """
        text = challenge.encode() if isinstance(challenge, str) else challenge
        line = await self._conversation.challenge(b64encode(text) if encode_to_b64 else text)
        if line == b"*":
            await self.push("501 5.7.0 Authentication cancelled")
            return MISSING
        try:
            return b64decode(line, validate=True)
        except binascii.Error:
            await self.push("501 5.5.2 Not a base64 response")
            return MISSING

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever aiosmtpd has there
        if name.startswith(_PROTOCOL) or name in OWN_METHODS:
            msg = f"{name} of aiosmtpd's SMTP class is not offered: PrixFixe speaks the protocol"
            raise AttributeError(msg)
        value = getattr(self._template, name)
        if inspect.ismethod(value) and value.__self__ is self._template:
            return value.__func__.__get__(self)
        return value
