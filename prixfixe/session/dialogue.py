"""The SMTP conversation as a value: octets in, replies out, no I/O.

Owns: the input buffer, lines, and the order of replies. What a command means is in `verbs`, message
data in `reception`, the state in `conversation`.
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
from time import perf_counter
from typing import TYPE_CHECKING

from prixfixe import replies
from prixfixe.session import sasl, verbs
from prixfixe.session.conversation import Mode
from prixfixe.session.reception import Reception

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.replies import Reply

__all__ = ["Dialogue"]

SLICE = 64  # commands handled before others get their turn, each of them in 3 us if it is cheap
SLICE_SECONDS = 0.0003
LOOK = 8  # commands between looks at the clock, which cost some percents of a NOOP
MAX_LINE_OCTETS = 12288  # RFC 4954 4 (an AUTH line); other verbs are held to less in `verbs`
_ROUNDS, _ROUND = range(SLICE // LOOK), range(LOOK)
_COMMAND, _BODY, _VERBS = Mode.COMMAND, Mode.BODY, verbs.VERBS  # a look-up less each time
# A browser may be made to send any method it likes, an SMTP verb too, but with the version.
_HTTP = re.compile(
    rb"(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|DELETE|PATCH|TRACE) |.* HTTP/\d(?:\.\d)?$"
)


class Dialogue(Reception):
    """One session, driven by `receive` and `work`."""

    __slots__ = ()

    # --- input

    @property
    def buffered(self) -> int:
        """Input octets not yet worked on."""
        later = self._later
        return len(self._input) - self._at + (0 if later is None else len(later))

    def greet(self) -> None:
        """Say the greeting."""
        self.output.append(self.terms.greeting.wire)

    def receive(self, data: bytes) -> None:
        """Take octets from the peer; after the end they are nothing."""
        if self.mode is Mode.CLOSED:
            return
        if self._at == len(self._input):
            self._input = data
            self._at = 0
        elif self._later is None:
            self._later = bytearray(data)
        else:
            self._later += data

    def _refill(self) -> bool:
        """Go on to what came later; return whether anything did.

        It is joined with what is left of the input only then: not once for every read.
        """
        later, self._later = self._later, None
        if later is None:
            return False
        self._input = self._input[self._at :] + later
        self._at = 0
        return True

    def work(self, clock: Callable[[], float] = perf_counter) -> bool:
        """Handle a slice of what was received; return whether more can be done now.

        A slice ends after SLICE commands, or at the first look at the clock after SLICE_SECONDS.
        """
        until = 0.0
        for _ in _ROUNDS:
            for _ in _ROUND:
                if not self._has_next():
                    return False
                mode = self.mode
                if mode is _COMMAND:
                    is_done = self._command_line()
                elif mode is _BODY:
                    is_done = self.take_body()
                else:
                    is_done = mode is Mode.AUTH and self._auth_line()
                if not is_done:
                    return False
            now = clock()
            until = until or now + SLICE_SECONDS
            if now > until:
                break
        return self._has_next()

    def _has_next(self) -> bool:
        """Whether there is input, or a chunk of BDAT that needs none, and memory for it."""
        if self.is_starved:
            return False
        if self._at < len(self._input) or (self._later is not None and self._refill()):
            return True
        body = self.body
        return body is not None and not body.wanted

    # --- lines

    def _next_line(self) -> bytes | Reply | None:
        """Return a line without its CRLF, the refusal of a bad one, or None for no line yet."""
        start, octets = self._at, self._input
        end = octets.find(b"\n", start)
        if end < 0:
            if self._refill():
                return self._next_line()
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
            self._input, self._at = b"", 0

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
        if verb is None or b" HTTP/" in line:
            if _HTTP.match(line) is not None:
                self.close(replies.NOT_SMTP)  # A browser or a forged request, CWE-441.
                return None
            if verb is None:
                return replies.UNKNOWN
        self.verb = verb.name
        if len(line) + 2 > verb.max_octets and len(line) + 2 > verbs.max_octets(self, verb):
            return replies.LINE_TOO_LONG
        if not (self.helo and self.terms.is_open):  # else there is no barrier to any verb
            refusal = verbs.barrier(self, verb)
            if refusal is not None:
                return refusal
        return verb.handle(self, argument.strip(b" \t"))

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

    # --- answers from outside

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

    def judged(self, user: str | None, reply: Reply, signature: bytes = b"") -> None:
        """Answer AUTH: `user` is None when the login was not accepted.

        A client that sent a proof is shown the server's before it is told.
        """
        self.exchange = None
        if self.mode is Mode.CLOSED:
            return
        self.verb = "AUTH"
        if user is not None and signature:
            self._resume()
            self._confirm(user, signature)
            return
        self.user = user
        self.failed_logins += reply is replies.BAD_CREDENTIALS
        if reply is replies.TOO_MANY_FAILED_LOGINS:  # From this address, whatever the session.
            self.close(reply)
            return
        self.say(reply)
        if self.failed_logins >= verbs.MAX_FAILED_LOGINS:
            self.close(replies.TOO_MANY_FAILED_LOGINS)
        self._resume()

    def _confirm(self, user: str, signature: bytes) -> None:
        if self.mode is not Mode.CLOSED:
            self.exchange = sasl.confirmed(user, signature)
            self._auth_step(self.exchange, None)
