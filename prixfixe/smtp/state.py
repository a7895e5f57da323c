"""What a session knows of its client: names, login, TLS, and the transaction under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.smtp import replies
from prixfixe.smtp.requests import LimitMet, PutOff, RecipientRefused, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.smtp.hindrance import Facts, Hindrance
    from prixfixe.smtp.offer import Offer
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.requests import Request
    from prixfixe.smtp.scram import Keys
    from prixfixe.smtp.transaction import Transaction
    from prixfixe.smtp.transcript import Transcript

__all__ = ["MAX_FAILED_LOGINS", "State"]

MAX_FAILED_LOGINS = 5  # per session, then 421; Postfix and Dovecot allow 3 to 10


def _nothing() -> None:
    """Answer for a session whose connection set no function."""


class State:
    """The facts of one session, which commands read and change.

    `find_hold` returns the refusal of MAIL while no message can be accepted, else None.
    `find_scram` returns a function from a user to SCRAM keys, or None while SCRAM is not offered.
    `find_fault` returns what a test puts in the way of a stage; without faults there is none.
    `transcript` notes what is said, where there are faults. `requests` is for the connection.
    """

    __slots__ = (
        "calls",
        "errors",
        "failed_logins",
        "find_fault",
        "find_hold",
        "find_scram",
        "helo",
        "is_extended",
        "is_slow",
        "limit",
        "mechanism",
        "messages",
        "offer",
        "peer",
        "requests",
        "said",
        "sender",
        "session_id",
        "tls",
        "transaction",
        "transcript",
        "user",
    )

    def __init__(self, offer: Offer, session_id: str = "") -> None:
        # For the life of the connection.
        self.offer = offer
        self.session_id = session_id  # in every log record of the connection
        self.peer = ""
        self.tls: str | None = None
        self.user: str | None = None
        self.errors = 0
        self.failed_logins = 0
        self.messages = 0
        self.limit = ""  # the last one met
        self.calls: dict[str, int] | None = None  # of verbs whose number is limited
        self.mechanism = ""
        self.is_slow = False  # whether the last command took a hundred times as long as most
        self.said = b""  # the argument of the last MAIL that was refused
        self.sender = ""  # of the last MAIL that was accepted
        # Until the next EHLO or TLS handshake.
        self.helo = ""
        self.is_extended = False
        self.transaction: Transaction | None = None
        # Set by the connection, and for it.
        self.find_hold: Callable[[], Reply | None] = _nothing
        self.find_scram: Callable[[], Callable[[str], Keys] | None] = _nothing
        self.transcript: Transcript | None = None
        self.find_fault: Callable[[Facts], Hindrance | None] | None = None
        self.requests: list[Request] = []

    @property
    def offers_auth(self) -> bool:
        """Whether AUTH, and with it MAIL's parameter AUTH=, is offered now."""
        return self.offer.may_authenticate(is_encrypted=self.tls is not None)

    def name_peer(self, peer: str) -> None:
        """Set the client's address, as `host:port`."""
        self.peer = peer

    def say_hello(self, helo: str, *, is_extended: bool) -> None:
        """Set the client's name; a transaction ends, as with RSET (RFC 5321 4.1.4)."""
        self.helo = helo
        self.is_extended = is_extended
        self.end_transaction()

    def encrypt(self, description: str) -> None:
        """Drop what the client sent in clear (RFC 3207 section 4.2)."""
        self.tls = description
        self.helo = ""
        self.is_extended = False
        self.user = None
        self.end_transaction()

    def begin_transaction(self, transaction: Transaction) -> None:
        """Begin a mail transaction."""
        self.transaction = transaction
        self.sender = transaction.sender

    def take_transaction(self) -> Transaction | None:
        """Return the current transaction, if any, and drop it."""
        transaction, self.transaction = self.transaction, None
        return transaction

    def end_transaction(self, reply: Reply | None = None, stage: str = "data") -> None:
        """End the transaction without a message, and note its refusal if it was refused.

        `reply` is the refusal of its data, or of DATA. Without a recipient, the first refusal is
        noted instead.
        """
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            if not transaction.recipients:
                reply = transaction.refusal or reply
            if reply is not None:
                self.requests.append(Refused(reply, stage, transaction))

    def count_refusal(self, verb: str, reply: Reply) -> bool:
        """Count a refused command; return whether there were too many.

        A refused MAIL is a refused message. A later refusal is noted when the transaction ends.
        """
        self.errors += 1
        if verb == "MAIL":
            self.requests.append(Refused(reply, "mail", None, self.said))
            self.said = b""
        elif self.transaction is not None and verb in ("RCPT", "DATA"):
            self.transaction.note_refusal(reply)
        return self.errors >= self.offer.max_errors

    def undo(self, verb: str, reply: Reply, argument: bytes) -> None:
        """Undo what an accepted command did: its reply is this refusal after all."""
        if verb in ("EHLO", "HELO"):
            self.helo = ""
            self.is_extended = False
        elif verb == "MAIL":
            self.transaction = None
            self.said = argument
            if not reply.is_refusal:
                self.put_off(reply, argument)
        elif verb == "RCPT" and self.transaction is not None:
            self.transaction.remove_last()
            self.refuse_recipient(reply, argument)

    def refuse_recipient(self, reply: Reply, argument: bytes) -> None:
        """Note a RCPT that is refused."""
        transaction, sender = self.transaction, ""
        if transaction is not None:
            sender = transaction.sender
            transaction.refused = transaction.refused or argument
        self.requests.append(RecipientRefused(reply, sender, argument))

    def refuse_sender(self, reply: Reply, argument: bytes) -> Reply:
        """Note what a MAIL said that is refused for good; return the reply."""
        self.said = argument
        return reply

    def put_off(self, reply: Reply, argument: bytes) -> Reply:
        """Note that a message is refused for now; return the reply."""
        self.requests.append(PutOff(reply, argument))
        return reply

    def limit_met(self, limit: str) -> None:
        """Note a limit that was met."""
        self.limit = limit
        self.requests.append(LimitMet(limit))

    def count_message(self) -> None:
        """Count a stored message."""
        self.messages += 1

    def begin_login(self, mechanism: str) -> None:
        """Note the mechanism of a SASL exchange."""
        self.mechanism = mechanism

    def count_failed_login(self, reply: Reply) -> bool:
        """Count a failed login by its reply; return whether there were too many."""
        self.failed_logins += reply is replies.BAD_CREDENTIALS
        return self.failed_logins >= MAX_FAILED_LOGINS

    def log_in(self, user: str | None) -> None:
        """Set the user of an accepted login, or None."""
        self.user = user
