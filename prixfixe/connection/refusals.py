"""What a session refuses or breaks off: counted, logged, and remembered as an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prixfixe.smtp import replies
from prixfixe.smtp.facts import said_address
from prixfixe.telemetry.attempts import Tried

if TYPE_CHECKING:
    from prixfixe.connection.services import Services
    from prixfixe.mail.message import Envelope
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.requests import Aborted, PutOff, RecipientRefused, Refused, TurnedAway
    from prixfixe.smtp.state import State
    from prixfixe.smtp.transaction import Transaction

__all__ = ["Refusals"]

# The reason of a refusal for the metrics; other replies are "sequence" or "syntax".
_REASONS: Final = {
    replies.TOO_BIG: "size",
    replies.BARE_LF: "bare_lf",
    replies.BARE_LINE_END: "content",
    replies.MESSAGE_LINE_TOO_LONG: "content",
    replies.TOO_MANY_HOPS: "content",
    replies.NO_SUCH_RECIPIENT: "recipient",
    replies.NEEDS_TLS: "tls",
    replies.NEEDS_AUTH: "auth",
    replies.TOO_MANY_HELD: "fault",
}
_ENDS: Final = ("timeout", "shutdown", "shed", "fault")


class Refusals:
    """The refusals of one session."""

    __slots__ = ("_listener", "_services", "_state")

    def __init__(self, services: Services, state: State, listener: str) -> None:
        self._services = services
        self._state = state
        self._listener = listener

    def refused(self, request: Refused) -> None:
        """Note a message that was refused, at MAIL or later."""
        reply, transaction = request.reply, request.transaction
        reason = _reason(reply)
        result = "rejected" if reply.code >= 500 else "deferred"
        self._services.metrics.message(self._listener, result, reason)
        sender, recipients = said_address(request.argument), []
        if transaction is not None:
            sender, recipients = transaction.sender, _named(transaction)
        self._services.log.message_refused(self._state, sender, recipients, str(reply), reason)
        if transaction is None or transaction.recipients:  # Each refused RCPT has its own already.
            self._attempt(Tried(request.stage, sender, recipients, str(reply), reason))

    def recipient_refused(self, request: RecipientRefused) -> None:
        """Note a RCPT that was refused."""
        reply, sender, address = request.reply, request.sender, said_address(request.argument)
        self._services.log.recipient_refused(self._state, sender, str(reply), address)
        self._attempt(Tried("rcpt", sender, (address,), str(reply), _reason(reply)))

    def put_off(self, request: PutOff) -> None:
        """Note a message that is refused for now."""
        reply = request.reply
        reason = "policy" if reply is replies.TOO_MANY_MESSAGES else "store_timeout"
        if reply.cause or reply is replies.TOO_MANY_HELD:
            reason = _reason(reply)
        self._services.metrics.message(self._listener, "deferred", reason)
        self._attempt(Tried("mail", said_address(request.argument), (), str(reply), reason))

    def turned_away(self, request: TurnedAway) -> None:
        """Note a session that was refused before its first message."""
        self._attempt(Tried(request.facts.stage, reply=str(request.reply), reason="fault"))

    def login_refused(self, reply: Reply) -> None:
        """Note a login that was not accepted."""
        self._attempt(Tried("auth", reply=str(reply), reason="auth"))

    def not_kept(self, envelope: Envelope, reply: Reply, reason: str) -> None:
        """Note a message that the store did not take."""
        recipients = [one.address for one in envelope.recipients]
        self._attempt(Tried("eod", envelope.sender, recipients, str(reply), reason))

    def declined(self, envelope: Envelope, reply: Reply) -> None:
        """Note a message that a handler did not take."""
        reason = _reason(reply)
        result = "rejected" if reply.code >= 500 else "deferred"
        self._services.metrics.message(self._listener, result, reason)
        recipients = [one.address for one in envelope.recipients]
        self._services.log.message_refused(
            self._state, envelope.sender, recipients, str(reply), reason
        )
        self._attempt(Tried("eod", envelope.sender, recipients, str(reply), reason))

    def aborted(self, request: Aborted, end: str) -> None:
        """Note a transaction that was broken off; `end` is how the session ended."""
        reason = end if end in _ENDS else "client_gone"
        if request.is_in_data:
            self._services.metrics.message(self._listener, "aborted", reason)
        known, reply = request.facts, "" if request.reply is None else str(request.reply)
        reason = "quit" if end == "quit" else reason
        self._attempt(Tried(known.stage, known.sender or "", known.recipients, reply, reason))

    def _attempt(self, tried: Tried) -> None:
        state = self._state
        self._services.attempts.add(
            tried, state.session_id, state.peer, state.helo, state.transcript
        )


def _named(transaction: Transaction) -> list[str]:
    """Return whom a transaction named: its recipients, or the first that was refused."""
    if transaction.recipients or transaction.refused is None:
        return [one.address for one in transaction.recipients]
    return [said_address(transaction.refused)]


def _reason(reply: Reply) -> str:
    """Return the reason of a refusal for the metrics and the log."""
    if reply.cause:
        return "handler" if reply.cause == replies.HANDLER else "fault"
    if reply is replies.TOO_MANY_RECIPIENTS:
        return "policy"
    return _REASONS.get(reply) or ("sequence" if reply.code == 503 else "syntax")
