"""What a session wants from its connection, as values.

`Keep`, `StartTls`, `CheckLogin` and `NeedMemory` need an answer. The others are notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prixfixe.mail.message import Envelope
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.sasl import Credentials, Proof
    from prixfixe.smtp.transaction import Transaction

__all__ = [
    "Aborted",
    "CheckLogin",
    "Keep",
    "LimitMet",
    "NeedMemory",
    "PutOff",
    "RecipientRefused",
    "Refused",
    "ReleaseMemory",
    "Request",
    "StartTls",
]


class Keep(NamedTuple):
    """Store a message; the answer is `Session.kept` or `Session.failed`."""

    envelope: Envelope
    body: bytes


class StartTls(NamedTuple):
    """Send what is due, then shake hands; the answer is `Session.tls_started`.

    `is_jumped` tells that the client sent more before it could know the reply.
    """

    is_jumped: bool


class CheckLogin(NamedTuple):
    """Check a login; the answer is `Session.judged`."""

    mechanism: str
    claim: Credentials | Proof


class NeedMemory(NamedTuple):
    """Take so many bytes more for the message; the answer is `Session.granted`."""

    size: int


class ReleaseMemory(NamedTuple):
    """Give back all memory that was taken for the message."""


class Refused(NamedTuple):
    """A message was refused for good: with its MAIL, and then without a transaction, or later."""

    reply: Reply
    transaction: Transaction | None = None


class RecipientRefused(NamedTuple):
    """A RCPT was refused; `argument` is what came behind the verb."""

    reply: Reply
    sender: str
    argument: bytes


class PutOff(NamedTuple):
    """No message can be taken now."""

    reply: Reply


class Aborted(NamedTuple):
    """The session ended inside message data."""


class LimitMet(NamedTuple):
    """The session met a limit: the name of a setting in lower case, without its prefix."""

    limit: str


Request = (
    Keep
    | StartTls
    | CheckLogin
    | NeedMemory
    | ReleaseMemory
    | Refused
    | RecipientRefused
    | PutOff
    | Aborted
    | LimitMet
)
