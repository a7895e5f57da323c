"""The state of one SMTP session and the few ways to change it.

Owns: what the peer said so far (HELO, TLS, user, transaction), the mode, the replies not yet sent,
and the count of errors.
Promises: a reply is counted and queued in one place; after `close` nothing more is said.
Refuses: input (see `dialogue`) and the meaning of commands (see `verbs`).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

from prixfixe import replies
from prixfixe.session import sasl

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.message import Envelope, Recipient
    from prixfixe.replies import Reply
    from prixfixe.scram import Keys
    from prixfixe.session.body import ChunkReader, DataReader
    from prixfixe.session.terms import Terms
    from prixfixe.session.transaction import Transaction

__all__ = ["NOBODY", "Conversation", "Mode", "Outside"]


class Mode(enum.Enum):
    """What the next input octet is."""

    COMMAND = enum.auto()  # part of a line
    BODY = enum.auto()  # part of message data, DATA or BDAT
    AUTH = enum.auto()  # part of a SASL response
    WAITING = enum.auto()  # nothing yet: an answer from outside is due
    CLOSED = enum.auto()  # nothing ever again


class Outside(Protocol):
    """What a session asks of the world; every answer may come at once or later."""

    def keep(self, envelope: Envelope, body: bytes) -> None:
        """Put the message into the store; ends in `kept` or `failed`."""
        ...

    def refused(self, reply: Reply, transaction: Transaction | None = None) -> None:
        """Note that a message was refused, with its MAIL or later."""
        ...

    def recipient_refused(self, reply: Reply, path: bytes) -> None:
        """Note that a recipient was refused; `path` is the argument of RCPT."""
        ...

    def aborted(self) -> None:
        """Note that the session ended inside message data."""
        ...

    def start_tls(self) -> None:
        """Begin the handshake after the pending output; ends in `tls_started`."""
        ...

    def judge(self, mechanism: str, claim: sasl.Credentials | sasl.Proof) -> None:
        """Check a login; ends in `judged`."""
        ...

    def scram_keys(self) -> Callable[[str], Keys] | None:
        """Return what finds a user's keys, or None where SCRAM is not offered."""
        ...

    def reserve(self, octets: int) -> bool:
        """Take this much more memory for a body, or return False and call `granted` later."""
        ...

    def release(self) -> None:
        """Give back all the memory taken for the body."""
        ...

    def limited(self, limit: str) -> None:
        """Note that the session met a limit."""
        ...

    def before_message(self) -> Reply | None:
        """Return why no message can be taken now, or None."""
        ...


class _Nobody:
    """The outside world of a session that is over: it is asked nothing."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        msg = f"a session that is over asks for {name}"
        raise AssertionError(msg)


NOBODY: Outside = _Nobody()


class Conversation:
    """One session's state."""

    def __init__(
        self,
        terms: Terms,
        outside: Outside,
        clock: Callable[[], float],
        observe: Callable[[str, int], None],
    ) -> None:
        # For the life of the connection.
        self.terms = terms
        self.clock = clock
        self.outside = outside
        self._observe = observe
        self.session_id = ""  # in every log record of the connection
        self.peer = ""
        self.tls: str | None = None
        self.user: str | None = None
        self.errors = 0
        self.failed_logins = 0
        self.has_quit = False
        self.has_unread = False  # whether octets came behind STARTTLS or the end of the session
        self.limit = ""  # the last one met
        # Until the next EHLO or TLS handshake.
        self.helo = ""
        self.is_extended = False
        self.transaction: Transaction | None = None
        # What is under way.
        self.mode = Mode.COMMAND
        self.verb = "OTHER"
        self.output: list[bytes] = []
        self.data_since = 0.0
        self.mechanism = ""
        self.body: DataReader | ChunkReader | None = None
        self.exchange: sasl.Exchange | None = None
        self._input = b""
        self._at = 0
        self._later: bytearray | None = None  # what came while there was input to work on
        self._is_skipping = False  # to the end of a line that is too long

    # One dict per idle session would be a third of its memory.
    __slots__ = (
        "_at",
        "_input",
        "_is_skipping",
        "_later",
        "_observe",
        "body",
        "clock",
        "data_since",
        "errors",
        "exchange",
        "failed_logins",
        "has_quit",
        "has_unread",
        "helo",
        "is_extended",
        "limit",
        "mechanism",
        "mode",
        "output",
        "outside",
        "peer",
        "session_id",
        "terms",
        "tls",
        "transaction",
        "user",
        "verb",
    )

    def say(self, reply: Reply) -> None:
        """Answer the current command and count it; 421 also closes (RFC 5321 section 3.8)."""
        if reply.limit:
            if reply.code == 421:
                self.close(reply)
                return
            self.meet(reply.limit)
        self._observe(self.verb, reply.code)
        self.output.append(reply.wire)
        if reply.is_refusal:
            self.errors += 1
            self._note_refusal(reply)
            if self.errors >= self.terms.max_errors:
                self.close(replies.TOO_MANY_ERRORS)

    def _note_refusal(self, reply: Reply) -> None:
        """Count a message refused with its MAIL; what follows MAIL is settled when that ends."""
        transaction = self.transaction
        if self.verb == "MAIL":
            self.outside.refused(reply)
        elif transaction is not None and self.verb in ("RCPT", "DATA"):
            transaction.refusal = transaction.refusal or reply

    def close(self, reply: Reply) -> None:
        """Say a last word; nothing that is still buffered will be looked at."""
        if self.mode is not Mode.CLOSED:
            if reply.limit:
                self.meet(reply.limit)
            self._observe(self.verb, reply.code)
            self.output.append(reply.wire)
            self.has_quit = reply is replies.BYE
            self.end()

    def add_recipient(self, recipient: Recipient, octets: int) -> None:
        """Take a recipient that takes so much memory."""
        raise NotImplementedError

    def meet(self, limit: str) -> None:
        """Note a limit that was met."""
        self.limit = limit
        self.outside.limited(limit)

    def end(self) -> None:
        """Be closed, without a word."""
        self.mode = Mode.CLOSED
        self.settle()
        self.body = None
        self.exchange = None
        self._forget_input()

    def _forget_input(self) -> None:
        if self._at < len(self._input) or self._later is not None:
            self.has_unread = True
        self._input = b""
        self._at = 0
        self._later = None

    def forget_transaction(self) -> None:
        """End the transaction without a message (RFC 5321 section 4.1.1.5)."""
        self.settle()

    def settle(self, reply: Reply | None = None) -> None:
        """End the transaction and count its message, if that was refused.

        `reply` is why; before it counts why there is no recipient.
        """
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            if not transaction.recipients:
                reply = transaction.refusal or reply
            if reply is not None:
                self.outside.refused(reply, transaction)

    def begin_body(self, body: DataReader | ChunkReader) -> None:
        """Take what follows for message data."""
        self.body = body
        self.mode = Mode.BODY
        if not self.data_since:
            self.data_since = self.clock()

    def begin_tls(self) -> None:
        """Say 220 and drop what was sent in clear after the command (RFC 3207 section 4.2)."""
        self.say(replies.START_TLS)
        self._forget_input()
        self.forget_transaction()
        self.mode = Mode.WAITING
        self.outside.start_tls()

    def begin_auth(self, mechanism: str, exchange: sasl.Exchange) -> None:
        """Start a SASL exchange; what follows is its responses."""
        self.mechanism = mechanism
        self.exchange = exchange
        self._auth_step(exchange, None)

    def _auth_step(self, exchange: sasl.Exchange, response: bytes | None) -> None:
        try:
            question = next(exchange) if response is None else exchange.send(response)
        except StopIteration as done:
            self._auth_claimed(done.value)
        except sasl.SaslError as error:
            self._auth_over(error.reply)
        else:
            self.mode = Mode.AUTH
            self._observe("AUTH", replies.CHALLENGE_CODE)
            self.output.append(sasl.challenge(question))

    def _auth_claimed(self, claim: sasl.Claim) -> None:
        if isinstance(claim, sasl.Confirmed):
            self.user = claim.user
            self._auth_over(replies.AUTHENTICATED)
        else:
            self.mode = Mode.WAITING
            self.outside.judge(self.mechanism, claim)

    def _auth_over(self, reply: Reply) -> None:
        self.exchange = None
        self.mode = Mode.COMMAND
        self.say(reply)
