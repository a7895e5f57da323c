"""One SASL exchange of a session, step by step (RFC 4954)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.smtp import sasl

if TYPE_CHECKING:
    from prixfixe.smtp.sasl import Claim, Exchange

__all__ = ["Login"]


class Login:
    """The current exchange and the name of its mechanism."""

    __slots__ = ("_exchange", "mechanism")

    def __init__(self, mechanism: str, exchange: Exchange) -> None:
        self.mechanism = mechanism
        self._exchange = exchange

    def step(self, response: bytes | None = None) -> bytes | Claim:
        """Continue with a response, None at first; return the next challenge or the claim.

        Raises:
            SaslError: the exchange failed.

        """
        try:
            question = next(self._exchange) if response is None else self._exchange.send(response)
        except StopIteration as done:
            claim: Claim = done.value
            return claim
        return sasl.challenge(question)
