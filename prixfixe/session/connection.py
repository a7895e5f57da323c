"""One client's connection: what a dialogue asks of the world.

Owns: giving messages to the store, memory to bodies, credentials to the check.
Promises: every question is answered once, now or later, and the dialogue goes on after it.
Refuses: SMTP (see `dialogue`), coming and going (see `entrance`), the transport's events (see
`link`), what becomes of a message (see `delivery`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prixfixe import replies
from prixfixe.auth import Verdict
from prixfixe.session.delivery import Delivery
from prixfixe.session.entrance import HANDSHAKE_SECONDS, Entrance
from prixfixe.session.sasl import Proof

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.message import Envelope
    from prixfixe.replies import Reply
    from prixfixe.scram import Keys
    from prixfixe.session.context import Context
    from prixfixe.session.conversation import Outside
    from prixfixe.session.sasl import Credentials
    from prixfixe.session.terms import Terms
    from prixfixe.session.transaction import Transaction

__all__ = ["Connection"]

JUMPED_SECONDS: Final = 3.0  # for the handshake of a client that sent commands behind STARTTLS
_AUTH_REPLIES: Final = {
    Verdict.ACCEPTED: replies.AUTHENTICATED,
    Verdict.REJECTED: replies.BAD_CREDENTIALS,
    Verdict.UNAVAILABLE: replies.AUTH_UNAVAILABLE,
    Verdict.BLOCKED: replies.TOO_MANY_FAILED_LOGINS,
}


class Connection(Entrance):
    """One client's connection, made by the listener's factory."""

    def __init__(self, context: Context, terms: Terms, listener: str) -> None:
        super().__init__(context, terms, listener)
        self._delivery = Delivery(context, self.dialogue, listener)
        self._holds_memory = False  # given back when the store has answered after all

    def _outside(self) -> Outside:
        return self

    def before_message(self) -> Reply | None:
        """Return why no message can be taken now: too many of this session's, or a stuck store."""
        reply = None
        if self.dialogue.messages >= self.dialogue.terms.max_messages:
            reply = replies.TOO_MANY_MESSAGES
        elif self.context.is_store_stuck():
            reply = replies.STORE_SLOW
        if reply is not None:
            self._delivery.put_off(reply)
        return reply

    def limited(self, limit: str) -> None:
        """Count a limit that was met."""
        self.context.metrics.limit(limit)

    def check_time(self) -> None:
        """Give up a store that does not answer, then look at the peer's time."""
        self._delivery.check_time()
        super().check_time()

    def owed_seconds(self, now: float) -> float:
        """Return for how long the client has sent nothing; a message is worth every place."""
        return min(super().owed_seconds(now), now - self._delivery.ended_at)

    def is_answer_due(self) -> bool:
        """Whether the store still has to say what becomes of a message."""
        return self._delivery.is_waiting

    def keep(self, envelope: Envelope, body: bytes) -> None:
        """Give the message to the store."""
        self._delivery.keep(envelope, body, self._answered)

    def refused(self, reply: Reply, transaction: Transaction | None = None) -> None:
        """Count a message that was refused."""
        self._delivery.refused(reply, transaction)

    def recipient_refused(self, reply: Reply, path: bytes) -> None:
        """Record a recipient that was refused."""
        self.context.log.recipient_refused(self.dialogue, reply, path)

    def aborted(self) -> None:
        """Count a message whose data never ended."""
        self._delivery.aborted(self.end)

    def _answered(self) -> None:
        """Go on after an answer that took its time; the client may have left meanwhile."""
        if self.transport is None:
            self.record_end()
        if self._holds_memory and not self._delivery.is_waiting:
            self.context.budget.release(self)
        self.touch()
        self.pump()

    def reserve(self, octets: int) -> bool:
        """Ask the server's budget for memory."""
        return self.context.budget.request(self, octets)

    def budget_granted(self) -> None:
        """Go on: the budget has the memory that was asked for."""
        self.dialogue.granted()
        self.touch()
        self._schedule()

    def release(self) -> None:
        """Give the memory back, unless the store still holds the message."""
        self._holds_memory = self._delivery.is_waiting
        if not self._holds_memory:
            self.context.budget.release(self)

    def start_tls(self) -> None:
        """Stop reading in clear and shake hands (RFC 3207 section 4).

        A client that sent commands behind STARTTLS most likely waits for their replies, which
        never come: it is not given long.
        """
        self._is_deaf = True
        self.transport.pause_reading()
        seconds = JUMPED_SECONDS if self.dialogue.has_unread else HANDSHAKE_SECONDS
        self._start(self._shake_hands("starttls", seconds))

    def scram_keys(self) -> Callable[[str], Keys] | None:
        """Return what finds a user's keys, or None where SCRAM is not offered."""
        authenticator = self.context.authenticator
        return None if authenticator is None else authenticator.scram_keys()

    def judge(self, mechanism: str, claim: Credentials | Proof) -> None:
        """Have the login checked off the loop."""
        self._start(self._judge(mechanism, claim))

    async def _judge(self, mechanism: str, claim: Credentials | Proof) -> None:
        context, verdict = self.context, await self._verdict(claim)
        context.metrics.auth_attempt(mechanism, verdict.value)
        is_accepted = verdict is Verdict.ACCEPTED
        if not is_accepted:
            context.log.login_refused(self.dialogue, verdict.value)
        if self.session is not None:
            self.session.authenticated = is_accepted
        user = claim.user if is_accepted else None
        signature = claim.signature if isinstance(claim, Proof) else b""
        self.dialogue.judged(user, _AUTH_REPLIES[verdict], signature)
        self._answered()

    async def _verdict(self, claim: Credentials | Proof) -> Verdict:
        authenticator, peer = self.context.authenticator, self._peer[0]
        if authenticator is None:
            return Verdict.UNAVAILABLE
        if isinstance(claim, Proof):
            is_proven = bool(claim.signature)
            return await authenticator.settle(
                claim.user, claim.keys, is_proven=is_proven, peer=peer
            )
        return await authenticator.verify(claim.user, claim.password, peer=peer)
