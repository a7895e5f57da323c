"""The SMTP conversation as a value: octets in, replies out, no I/O.

Owns: the input buffer, lines, the order of replies, and when a body ends. What a command means is
in `verbs`, the state in `conversation`.
Promises: replies come in the order of the commands; a batch of commands is answered in one piece
(RFC 2920 section 3.2); one call of `work` handles a bounded number of commands, so others get
their turn; lines, bodies and errors are bounded; nothing is executed after the session said it
closes; octets of a body are never taken for commands.
Refuses: sockets, clocks (one is passed in), stores. What must happen outside is asked of
`Outside`, whose answers come back through `kept`, `failed`, `tls_started`, `judged`, `granted`.

Theory: `mode` says what the next input octet is. Only `work` consumes input, and only while the
mode is not WAITING or CLOSED.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prixfixe import replies
from prixfixe.message import Envelope
from prixfixe.session import sasl, verbs
from prixfixe.session.body import ChunkReader, DataReader, verdict
from prixfixe.session.conversation import NOBODY, Conversation, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.replies import Reply
    from prixfixe.session.conversation import Outside
    from prixfixe.session.terms import Terms
    from prixfixe.session.transaction import Transaction

__all__ = ["Dialogue"]

SLICE = 64  # commands handled before others get their turn: about 0.2 ms
MAX_LINE_OCTETS = 12288  # RFC 4954 4 (an AUTH line); other verbs are held to less in `verbs`
FREE_OCTETS = 65536  # held by a message without asking the budget: most mail never asks
BUDGET_STEP = 65536
_COMMAND, _BODY, _VERBS = Mode.COMMAND, Mode.BODY, verbs.VERBS  # a look-up less each time
# A browser may be made to send any method it likes, but not to leave out the version.
_HTTP = re.compile(
    rb"(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|DELETE|PATCH|TRACE) |.* HTTP/\d(?:\.\d)?$"
)


class Dialogue(Conversation):
    """One session, driven by `receive` and `work`."""

    __slots__ = (
        "_asked",
        "_granted",
        "_is_skipping",
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
        self._is_skipping = False
        self._last_word: Reply | None = None
        self._granted = FREE_OCTETS
        self._asked = 0
        self.is_starved = False  # whether the body waits for memory from the budget

    # --- input

    @property
    def buffered(self) -> int:
        """Input octets not yet worked on."""
        return len(self._input) - self._at

    @property
    def is_busy(self) -> bool:
        """Whether a message is being received or kept, or an answer from outside is due."""
        return self.mode is Mode.BODY or self.mode is Mode.WAITING

    def greet(self) -> None:
        """Say the greeting."""
        self.output.append(self.terms.greeting.wire)

    def receive(self, data: bytes) -> None:
        """Take octets from the peer; after the end they are nothing."""
        if self.mode is Mode.CLOSED:
            return
        if self._at < len(self._input):
            data = self._input[self._at :] + data
        self._input = data
        self._at = 0

    def work(self) -> bool:
        """Handle a slice of what was received; return whether more can be done now."""
        for _ in range(SLICE):
            mode = self.mode
            if mode is _BODY:
                is_done = self._body_octets()
            elif self._at == len(self._input):
                return False
            elif mode is _COMMAND:
                is_done = self._command_line()
            else:
                is_done = mode is Mode.AUTH and self._auth_line()
            if not is_done:
                return False
        return self._at < len(self._input)

    def interrupt(self, reply: Reply) -> None:
        """Close now, or as soon as the message under way is answered (RFC 5321 section 3.8)."""
        if self.is_busy:
            self._last_word = reply
        else:
            self.close(reply)

    # --- lines

    def _next_line(self) -> bytes | Reply | None:
        """Return a line without its CRLF, the refusal of a bad one, or None for no line yet."""
        start, octets = self._at, self._input
        end = octets.find(b"\n", start)
        if end < 0:
            self._bound_line()
            return None
        self._at = end + 1
        self.progress += 1
        if self._is_skipping or end - start > MAX_LINE_OCTETS:
            self._is_skipping = False
            return replies.LINE_TOO_LONG
        # The only CR is the one before the LF (RFC 5321 section 2.3.8).
        if end == start or octets.find(b"\r", start, end) != end - 1:
            return replies.BAD_LINE
        return octets[start : end - 1]

    def _bound_line(self) -> None:
        if self.buffered > MAX_LINE_OCTETS:
            self._is_skipping = True
            self._forget_input()

    def _command_line(self) -> bool:
        line = self._next_line()
        if line is None:
            return False
        self.verb = "OTHER"
        reply = self._command(line) if isinstance(line, bytes) else line
        if reply is not None:
            self.say(reply)
        return True

    def _command(self, line: bytes) -> Reply | None:
        word, _, argument = line.partition(b" ")
        verb = _VERBS.get(word) or _VERBS.get(word.rstrip(b"\t").upper())
        if verb is None:
            return self._unknown(line)
        self.verb = verb.name
        if len(line) + 2 > verb.max_octets and len(line) + 2 > verbs.max_octets(self, verb):
            return replies.LINE_TOO_LONG
        if not (self.helo and self.terms.is_open):  # else there is no barrier to any verb
            refusal = verbs.barrier(self, verb)
            if refusal is not None:
                return refusal
        return verb.handle(self, argument.strip(b" \t"))

    def _unknown(self, line: bytes) -> Reply | None:
        if _HTTP.match(line) is None:
            return replies.UNKNOWN
        self.close(replies.NOT_SMTP)  # A browser or a forged request, CWE-441.
        return None

    def _auth_line(self) -> bool:
        line = self._next_line()
        exchange = self.exchange
        if line is None or exchange is None:
            return False
        self.verb = "AUTH"
        if not isinstance(line, bytes):
            self._auth_over(line)
            return True
        try:
            self._auth_step(exchange, sasl.decode(line))
        except sasl.SaslError as error:
            self._auth_over(error.reply)
        return True

    # --- message data

    def _body_octets(self) -> bool:
        body = self.body
        chunk = self._body_input()
        size = len(chunk)
        if body is None or (not size and isinstance(body, DataReader)):
            return False
        held = body.held + size
        if held > self._granted and not self._may_hold(held):
            return False
        self.progress += size
        self._at += size
        self.data_octets += size
        rest = body.feed(chunk)
        if rest is None:
            self._forget_input()
            return False
        self.body = None
        if isinstance(body, DataReader):
            self._input, self._at = rest, 0
            self.verb = "DATA"
            self._end_of_data(body)
        else:
            self.verb = "BDAT"
            self._end_of_chunk(body)
        return True

    def _body_input(self) -> bytes:
        """Return the input up to the end of the chunk; where DATA ends only its reader can tell."""
        body, start = self.body, self._at
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
        refusal = verdict(octets, strict=self.terms.is_strict)
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
        self.forget_transaction()
        self.outside.refused(reply)
        self.say(reply)
        self._resume()

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
        if self.mode is Mode.BODY:
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

    def await_tls(self) -> None:
        """Say nothing before the handshake: TLS is implicit (RFC 8314 section 3.3)."""
        self.mode = Mode.WAITING

    def tls_begins(self) -> None:
        """Drop what came in clear; the next octets come out of TLS (RFC 3207 section 4.2)."""
        self._forget_input()

    def tls_started(self, description: str, *, is_greeted: bool = True) -> None:
        """Begin anew inside TLS; what was said in clear is forgotten (RFC 3207 section 4.2)."""
        self.tls = description
        self.helo = ""
        self.is_extended = False
        self.user = None
        self.forget_transaction()
        if not is_greeted:
            self.greet()
        self._resume()

    def judged(self, user: str | None, reply: Reply) -> None:
        """Answer AUTH: `user` is None when the credentials were not accepted."""
        self.exchange = None
        if self.mode is Mode.CLOSED:
            return
        self.verb = "AUTH"
        self.user = user
        self.failed_logins += reply is replies.BAD_CREDENTIALS
        if reply is replies.TOO_MANY_FAILED_LOGINS:  # From this address, whatever the session.
            self.close(reply)
            return
        self.say(reply)
        if self.failed_logins >= verbs.MAX_FAILED_LOGINS:
            self.close(replies.TOO_MANY_FAILED_LOGINS)
        self._resume()
