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
from prixfixe.session.entrance import Entrance

if TYPE_CHECKING:
    from prixfixe.message import Envelope
    from prixfixe.replies import Reply
    from prixfixe.session.context import Context
    from prixfixe.session.conversation import Outside
    from prixfixe.session.sasl import Credentials
    from prixfixe.session.terms import Terms

__all__ = ["Connection"]

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
        self._delivery = Delivery(context, self.dialogue, listener, self._answered)

    def _outside(self) -> Outside:
        return self

    def keep(self, envelope: Envelope, body: bytes) -> None:
        """Give the message to the store."""
        self._delivery.keep(envelope, body)

    def refused(self, reply: Reply) -> None:
        """Count a message whose data was refused."""
        self._delivery.refused(reply)

    def aborted(self) -> None:
        """Count a message whose data never ended."""
        self._delivery.aborted(self.end)

    def _answered(self) -> None:
        """Go on after an answer that took its time."""
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
        """Give the memory back."""
        self.context.budget.release(self)

    def start_tls(self) -> None:
        """Stop reading in clear and shake hands (RFC 3207 section 4)."""
        self.transport.pause_reading()
        self._start(self._shake_hands("starttls"))

    def judge(self, mechanism: str, credentials: Credentials) -> None:
        """Have the credentials checked off the loop."""
        self._start(self._judge(mechanism, credentials))

    async def _judge(self, mechanism: str, credentials: Credentials) -> None:
        context, verdict = self.context, Verdict.UNAVAILABLE
        if context.authenticator is not None:
            verdict = await context.authenticator.verify(
                credentials.user, credentials.password, peer=self._peer[0]
            )
        context.metrics.auth_attempt(mechanism, verdict.value)
        is_accepted = verdict is Verdict.ACCEPTED
        if self.session is not None:
            self.session.authenticated = is_accepted
        self.dialogue.judged(credentials.user if is_accepted else None, _AUTH_REPLIES[verdict])
        self._answered()
