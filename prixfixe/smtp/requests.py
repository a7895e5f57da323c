"""What a session asks of its connection, as values.

`Keep`, `StartTls`, `CheckLogin`, `NeedMemory`, `Decide`, `Response` and `Pause` need an answer.
The others are notifications.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prixfixe.mail.message import Envelope
    from prixfixe.smtp.hindrance import Facts
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.sasl import Credentials, Proof
    from prixfixe.smtp.transaction import Transaction

__all__ = [
    "Aborted",
    "CheckLogin",
    "CloseAfter",
    "Decide",
    "Dropped",
    "Keep",
    "LimitMet",
    "NeedMemory",
    "Pause",
    "PutOff",
    "RecipientRefused",
    "Refused",
    "ReleaseMemory",
    "Request",
    "Response",
    "StartTls",
    "TurnedAway",
]


class Keep(NamedTuple):
    """Store a message; the answer is `Session.kept` or `Session.failed`."""

    envelope: Envelope
    body: bytes


class StartTls(NamedTuple):
    """Send the replies, then do the handshake; the answer is `Session.tls_started`.

    `is_jumped` means that the client sent more commands without waiting for the reply.
    """

    is_jumped: bool


class CheckLogin(NamedTuple):
    """Check a login; the answer is `Session.login_checked`."""

    mechanism: str
    claim: Credentials | Proof


class Decide(NamedTuple):
    """Decide about a command that would be accepted; the answer is `Session.decided`.

    `argument` is the text after the verb, and `reply` the one it would have, if it has one. Only
    verbs that ask cause this (`commands.asking`).
    """

    verb: str
    argument: bytes
    reply: Reply | None = None


class Response(NamedTuple):
    """The client's answer to `Session.challenge`, without its CRLF."""

    line: bytes


class NeedMemory(NamedTuple):
    """Reserve `size` more bytes for the message; the answer is `Session.granted`."""

    size: int


class Pause(NamedTuple):
    """Wait for so many seconds; the answer is `Session.go_on`, after `math.inf` seconds none."""

    seconds: float


class CloseAfter(NamedTuple):
    """Drop the connection after so many bytes that the client has yet to send."""

    octets: int


class Dropped(NamedTuple):
    """A fault ends the session without a reply."""


class ReleaseMemory(NamedTuple):
    """Release all memory that was reserved for the message."""


class Refused(NamedTuple):
    """A message was refused; if its MAIL was refused, there is its argument and no transaction."""

    reply: Reply
    stage: str
    transaction: Transaction | None = None
    argument: bytes = b""


class RecipientRefused(NamedTuple):
    """A RCPT was refused; `argument` is the text after the verb."""

    reply: Reply
    sender: str
    argument: bytes


class PutOff(NamedTuple):
    """A message was refused for now; `argument` is that of its MAIL."""

    reply: Reply
    argument: bytes


class TurnedAway(NamedTuple):
    """A session was refused something before its first message."""

    facts: Facts
    reply: Reply


class Aborted(NamedTuple):
    """The session ended within a transaction, or where a fault held it; `reply` is its last."""

    facts: Facts
    reply: Reply | None
    is_in_data: bool


class LimitMet(NamedTuple):
    """The session met a limit: the name of a setting in lower case, without its prefix."""

    limit: str


Request = (
    Keep
    | StartTls
    | CheckLogin
    | Decide
    | Response
    | NeedMemory
    | Pause
    | CloseAfter
    | Dropped
    | ReleaseMemory
    | Refused
    | RecipientRefused
    | PutOff
    | TurnedAway
    | Aborted
    | LimitMet
)
