"""Message data of a session: taken in within the budget, judged, handed on, answered.

Owns: which octets of the input are a body, the memory a body may hold, and what follows its end.
Promises: octets of a body are never taken for commands; a body that may not be held yet stays in
the input; every body ends in one answer, and what was held for it is given back.
Refuses: lines (see `dialogue`), where a body ends (see `body`), stores and memory, which are asked
of `Outside`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe import replies
from prixfixe.message import Envelope
from prixfixe.session.body import ChunkReader, DataReader, verdict
from prixfixe.session.conversation import NOBODY, Conversation, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.message import Recipient
    from prixfixe.replies import Reply
    from prixfixe.session.conversation import Outside
    from prixfixe.session.terms import Terms
    from prixfixe.session.transaction import Transaction

__all__ = ["Reception"]

FREE_OCTETS = 65536  # held by a message without asking the budget: most mail never asks
BUDGET_STEP = 65536


class Reception(Conversation):
    """The part of a session that takes message data."""

    __slots__ = (
        "_asked",
        "_granted",
        "_last_word",
        "data_octets",
        "is_starved",
        "messages",
        "progress",
    )

    def __init__(
        self,
        terms: Terms,
        outside: Outside,
        clock: Callable[[], float],
        observe: Callable[[str, int], None],
    ) -> None:
        super().__init__(terms, outside, clock, observe)
        self.messages = 0
        self.progress = 0  # whole lines and body octets taken; a peer that adds none is idle
        self.data_octets = 0  # body octets alone
        self.is_starved = False  # whether the body waits for memory from the budget
        self._granted = FREE_OCTETS
        self._asked = 0
        self._last_word: Reply | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a message is being received or kept, or an answer from outside is due."""
        return self.mode is Mode.BODY or self.mode is Mode.WAITING

    def take_body(self) -> bool:
        """Take body octets from the input; return whether the body came to its end."""
        body = self.body
        if body is None:
            return False
        chunk = self._body_input(body)
        size = len(chunk)
        held = body.held + size
        if self.transaction is not None:
            held += self.transaction.octets
        if held > self._granted and not self._may_hold(held):
            return False
        self.progress += size
        self._at += size
        self.data_octets += size
        rest = body.feed(chunk)
        if rest is None:
            self._input, self._at = b"", 0
            return self._later is not None
        self.body = None
        if isinstance(body, DataReader):
            self._input, self._at = rest, 0
            self.verb = "DATA"
            self._end_of_data(body)
        else:
            self.verb = "BDAT"
            self._end_of_chunk(body)
        return True

    def _body_input(self, body: DataReader | ChunkReader) -> bytes:
        """Return the input up to the end of the chunk; where DATA ends only its reader can tell."""
        start = self._at
        if isinstance(body, ChunkReader):
            return self._input[start : start + body.wanted]
        return self._input[start:] if start else self._input

    def _may_hold(self, octets: int) -> bool:
        """Whether memory for a body of this size is granted now that it is asked for."""
        if self.is_starved:
            return False
        step = -(-(octets - self._granted) // BUDGET_STEP) * BUDGET_STEP
        if self.outside.reserve(step):
            self._granted += step
            return True
        self._asked = step
        self.is_starved = True
        self.meet("max_inflight")
        return False

    def add_recipient(self, recipient: Recipient, octets: int) -> None:
        """Take a recipient; where it takes more memory than is free, the session waits for that.

        From then on the session is held to the rate of message data, for it holds what others need.
        """
        transaction = self.transaction
        if transaction is None:
            return
        transaction.recipients.append(recipient)
        transaction.octets += octets
        if transaction.octets > self._granted:
            self.data_since = self.data_since or self.clock()
            self._may_hold(transaction.octets)

    @property
    def is_in_debt(self) -> bool:
        """Whether the session holds memory for which it owes message data."""
        return self._granted > FREE_OCTETS

    def granted(self) -> None:
        """Go on with the body: the budget granted what was asked."""
        self._granted += self._asked
        self._asked = 0
        self.is_starved = False

    def _end_of_data(self, body: DataReader) -> None:
        if body.is_too_big:
            self._refuse_body(replies.TOO_BIG)
        else:
            self._judge_body(body.take())

    def _end_of_chunk(self, body: ChunkReader) -> None:
        if body.refusal is not None:
            self._refuse_body(body.refusal)
        elif body.is_last:
            self._judge_body(body.take())
        else:
            self.say(replies.bdat_received(body.octets))
            self._resume()

    def _judge_body(self, octets: bytes) -> None:
        transaction = self.transaction
        terms = self.terms
        refusal = verdict(octets, strict=terms.is_strict, takes_lf=terms.takes_bare_lf)
        if refusal is not None or transaction is None:
            self._refuse_body(refusal or replies.NEED_MAIL)
            return
        self.transaction = None
        self.mode = Mode.WAITING
        self.outside.keep(self._envelope(transaction), octets)

    def _envelope(self, transaction: Transaction) -> Envelope:
        # The `with` keyword of Received (RFC 3848, RFC 6531 section 4.3).
        protocol = "SMTP"
        if self.is_extended:
            protocol = "UTF8SMTP" if transaction.is_utf8 else "ESMTP"
            if self.tls or self.user:
                protocol += ("S" if self.tls else "") + ("A" if self.user else "")
        return Envelope(
            transaction.sender,
            tuple(transaction.recipients),
            transaction.params,
            self.peer,
            self.helo,
            protocol,
            self.terms.domain,
            self.tls,
            self.user,
        )

    def _refuse_body(self, reply: Reply) -> None:
        self.settle(reply)
        self._forget_body()
        self.say(reply)
        self._resume()

    # --- ends

    def interrupt(self, reply: Reply) -> None:
        """Close now, or as soon as the message under way is answered (RFC 5321 section 3.8)."""
        if self.is_busy:
            self._last_word = reply
        else:
            self.close(reply)

    def forget_transaction(self) -> None:
        """End the transaction without a message; memory held by its chunks is given back."""
        super().forget_transaction()
        self._forget_body()

    def _forget_body(self) -> None:
        self.data_since = 0.0
        if self._granted > FREE_OCTETS or self.is_starved:
            self._granted = FREE_OCTETS
            self._asked = 0
            self.is_starved = False
            self.outside.release()

    def end(self) -> None:
        """Be closed, without a word; memory of a message being kept stays taken until it is."""
        if self.mode is Mode.BODY and self.transaction is not None:
            self.transaction = None
            self.outside.aborted()
        if self.mode is not Mode.WAITING:
            self._forget_body()
        super().end()

    def let_go(self) -> None:
        """Forget the outside world after the end, unless memory of it is still held.

        Session and dialogue refer to each other: without this, each pair would have to wait for
        the collector of cycles.
        """
        if self._granted == FREE_OCTETS:
            self.outside = NOBODY

    # --- answers from outside

    def _resume(self) -> None:
        """Look at input again after an answer from outside or the end of a body."""
        if self.mode is not Mode.CLOSED:
            self.mode = Mode.COMMAND
            if self._last_word is not None:
                self.close(self._last_word)

    def kept(self, message_id: str) -> None:
        """Answer 250: the message is kept."""
        self._forget_body()
        self.messages += 1
        if self.mode is not Mode.CLOSED:
            self._observe(self.verb, replies.KEPT_CODE)
            self.output.append(replies.kept(message_id))
            self._resume()

    def failed(self, reply: Reply) -> None:
        """Answer a message that could not be kept."""
        self._forget_body()
        if self.mode is not Mode.CLOSED:
            self.say(reply)
            self._resume()
