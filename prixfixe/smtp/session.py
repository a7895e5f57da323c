"""One SMTP session as a value: bytes in, replies and requests out, no I/O.

Replies have the order of their commands (RFC 2920 section 3.2). No byte of a body is ever run as a
command, and no command is run after the session is closed.
"""

from __future__ import annotations

import enum
import math
import re
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

from prixfixe.mail.message import Envelope
from prixfixe.smtp import commands, replies, sasl
from prixfixe.smtp.body_intake import FREE_OCTETS, BodyIntake
from prixfixe.smtp.commands import Ask, BeginBody, BeginLogin, BeginTls, Close, Hindered
from prixfixe.smtp.data import ChunkReader, DataReader, check_body
from prixfixe.smtp.facts import facts, transaction_facts
from prixfixe.smtp.hindrance import STAGE_OF
from prixfixe.smtp.login import Login
from prixfixe.smtp.replies import Reply
from prixfixe.smtp.requests import (
    Aborted,
    CheckLogin,
    CloseAfter,
    Decide,
    Dropped,
    Keep,
    NeedMemory,
    Pause,
    ReleaseMemory,
    Response,
    StartTls,
    TurnedAway,
)
from prixfixe.smtp.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prixfixe.smtp.commands import Verb
    from prixfixe.smtp.hindrance import Facts, Hindrance
    from prixfixe.smtp.offer import Offer
    from prixfixe.smtp.requests import Request
    from prixfixe.smtp.transaction import Transaction

    # Verb, then code: how many replies there were.
    Tally = defaultdict[str, defaultdict[int, int]]

__all__ = ["MAX_LINE_OCTETS", "STEP", "Mode", "Session", "new_tally"]

STEP: Final = 8  # commands that one call of `work` handles, each in 3 us; one if it is slow
MAX_LINE_OCTETS: Final = 12288  # RFC 4954 4: an AUTH line; `commands` has less for other verbs
# An attacker can make a browser send any method, an SMTP verb too, but HTTP/1.1 follows it.
_HTTP = re.compile(
    rb"(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|DELETE|PATCH|TRACE) |.* HTTP/\d(?:\.\d)?$"
)


class Mode(enum.Enum):
    """What the next byte of input belongs to."""

    COMMAND = enum.auto()  # a command line
    BODY = enum.auto()  # message data, of DATA or BDAT
    AUTH = enum.auto()  # a SASL response
    WAITING = enum.auto()  # not known yet: a request must be answered first
    CLOSED = enum.auto()  # nothing: input is ignored


# A look-up of an enum's member takes as long as a short method.
_COMMAND, _BODY, _WAITING, _CLOSED = Mode.COMMAND, Mode.BODY, Mode.WAITING, Mode.CLOSED


def new_tally() -> Tally:
    """Return an empty count of replies by verb and code."""
    return defaultdict(lambda: defaultdict(int))


class Session:
    """One session: pass input to `receive`, call `work`, send `output`, serve `requests`.

    `requests` is what the connection must do; it removes the requests, and answers some. `progress`
    counts whole lines and bytes of message data. A client that adds none is idle.
    `tally` counts the replies of all sessions that share it. `verbs` is the table of commands, in
    which some may ask the connection before they take effect.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_at",
        "_input",
        "_is_skipping",
        "_last_word",
        "_late_seconds",
        "_later",
        "_login",
        "_met",
        "_tally",
        "_then",
        "_verbs",
        "has_quit",
        "has_unread",
        "intake",
        "mode",
        "output",
        "progress",
        "requests",
        "state",
        "verb",
    )

    def __init__(
        self,
        offer: Offer,
        session_id: str = "",
        tally: Tally | None = None,
        verbs: Mapping[bytes, Verb] = commands.VERBS,
    ) -> None:
        self.state = State(offer, session_id)
        self.requests: list[Request] = self.state.requests
        self.intake = BodyIntake()
        self.mode = _COMMAND
        self.verb = "OTHER"
        self.output: list[bytes] = []
        self.progress = 0
        self.has_quit = False
        self.has_unread = False  # whether bytes came after STARTTLS or the end of the session
        self._tally = new_tally() if tally is None else tally
        self._verbs = verbs
        self._asked: Ask | None = None  # the command that waits for `decided`
        self._login: Login | None = None
        self._last_word: Reply | None = None
        self._input = b""
        self._at = 0
        self._later: bytearray | None = None  # received while `_input` was not used up
        self._is_skipping = False  # to the end of a line that is too long
        self._then: Callable[[], None] | None = None  # what a pause puts off
        self._met: Facts | None = None  # where a fault is in force
        self._late_seconds = 0.0  # from the end of the store to the 250

    @property
    def is_busy(self) -> bool:
        """Whether a message is being received or stored, or an answer is due."""
        return self.mode is _BODY or self.mode is _WAITING

    @property
    def is_waiting(self) -> bool:
        """Whether the session waits for the server, not for the client."""
        return self.mode is _WAITING or self.intake.is_starved

    @property
    def is_data_due(self) -> bool:
        """Whether the client owes message data."""
        transaction = self.state.transaction
        return (
            self.mode is _BODY
            or self.intake.has_extra_memory
            or (transaction is not None and transaction.chunks is not None)
        )

    def name_peer(self, peer: str) -> None:
        """Set the client's address, as `host:port`."""
        self.state.name_peer(peer)

    def limit_met(self, limit: str) -> None:
        """Note a limit that was met."""
        self.state.limit_met(limit)

    # --- input

    @property
    def buffered(self) -> int:
        """Return how many bytes of input are not processed yet."""
        later = self._later
        return len(self._input) - self._at + (0 if later is None else len(later))

    def receive(self, data: bytes) -> None:
        """Buffer bytes from the client; a closed session ignores them."""
        if self.mode is _CLOSED:
            return
        if self._at == len(self._input):
            self._input = data
            self._at = 0
        elif self._later is None:
            self._later = bytearray(data)
        else:
            self._later += data

    def _refill(self) -> bool:
        """Append the later input to the rest of the current one; return whether there was any.

        This joins bytes once for many reads.
        """
        later, self._later = self._later, None
        if later is None:
            return False
        self._input = self._input[self._at :] + later
        self._at = 0
        return True

    def _forget_input(self) -> None:
        if self._at < len(self._input) or self._later is not None:
            self.has_unread = True
        self._input = b""
        self._at = 0
        self._later = None

    def work(self) -> bool:
        """Process at most STEP commands; return whether more can be processed now."""
        if not self.has_next():
            return False
        intake = self.intake
        for _ in range(STEP):
            mode = self.mode
            if mode is _COMMAND:
                is_done = self._command_line()
            elif mode is _BODY:
                is_done = self._take_body()
            else:
                is_done = mode is Mode.AUTH and self._auth_line()
            is_used_up = self._at == len(self._input) and self._later is None
            if not is_done or (is_used_up and intake.reader is None):
                return False  # as nearly always; `has_next` says the same
            if not self.has_next():
                return False
            if self.state.is_slow:
                return True
        return True

    def take_slow(self) -> bool:
        """Whether the last command was slow, so that others have a turn; it is told once."""
        is_slow, self.state.is_slow = self.state.is_slow, False
        return is_slow

    def has_next(self) -> bool:
        """Whether there is memory, and input or a chunk of BDAT that needs none."""
        intake = self.intake
        if intake.is_starved:
            return False
        if self._at < len(self._input) or (self._later is not None and self._refill()):
            return True
        return intake.reader is not None and not intake.reader.wanted

    # --- lines

    def _next_line(self) -> bytes | Reply | None:
        """Return a line without its CRLF, the refusal of a bad one, or None if it is incomplete."""
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
        outcome = self._command(line) if isinstance(line, bytes) else line
        if isinstance(outcome, Reply):
            self.say(outcome)
        elif type(outcome) is BeginBody:
            self._begin_body(outcome.reader, outcome.reply)
        else:
            self._begin(outcome)
        transaction = self.state.transaction
        if transaction is None or transaction.octets > FREE_OCTETS:
            self._account_for_memory()
        return True

    def _command(self, line: bytes) -> commands.Outcome:
        word, _, argument = line.partition(b" ")
        verbs = self._verbs
        verb = verbs.get(word) or verbs.get(word.rstrip(b"\t").upper())
        if verb is None or b" HTTP/" in line:
            if _HTTP.match(line) is not None:
                return Close(replies.NOT_SMTP)  # An HTTP request, perhaps forged (CWE-441).
            if verb is None:
                self._heard(line)
                return replies.UNKNOWN
        self.verb = verb.name
        state = self.state
        if len(line) + 2 > verb.max_octets and len(line) + 2 > commands.max_octets(state, verb):
            self._heard(line)
            return replies.LINE_TOO_LONG
        if state.helo and state.offer.is_open:  # every verb is allowed
            return verb.handle(state, argument.strip(b" \t"))
        self._heard(line)
        return self._allowed(verb, argument.strip(b" \t"))

    def _heard(self, line: bytes) -> None:
        if self.state.transcript is not None:
            self.state.transcript.heard(line)

    def _noted(self, what: str) -> None:
        if self.state.transcript is not None:
            self.state.transcript.noted(what)

    def _allowed(self, verb: Verb, argument: bytes) -> commands.Outcome:
        """Handle a command, unless something must come before it or a test hinders it."""
        refusal = commands.barrier(self.state, verb)
        if refusal is not None:
            return self.state.refuse_sender(refusal, argument) if verb.name == "MAIL" else refusal
        stage = STAGE_OF.get(verb.name)
        hindrance = None if stage is None else self._hindrance(stage, argument)
        if hindrance is None:
            return verb.handle(self.state, argument)
        return Hindered(verb, argument, hindrance)

    def _begin(self, outcome: BeginBody | BeginTls | BeginLogin | Close | Hindered | Ask) -> None:
        """Act on the outcome of a command."""
        match outcome:
            case Hindered():
                self._hinder(outcome)
            case Ask():
                self._ask(outcome)
            case BeginBody(reader, reply):
                self._begin_body(reader, reply)
            case Close(reply, after):
                if after is not None:
                    self.say(after)
                self.close(reply)
            case BeginTls():
                self._begin_tls()
            case BeginLogin(mechanism, exchange):
                self.state.begin_login(mechanism)
                self._login = Login(mechanism, exchange)
                self._login_step(None)

    def _take(self, outcome: commands.Outcome) -> None:
        if isinstance(outcome, Reply):
            self.say(outcome)
        else:
            self._begin(outcome)

    def _account_for_memory(self) -> None:
        """Ask for the memory of a large envelope, or release that of one that is gone."""
        transaction, intake = self.state.transaction, self.intake
        if transaction is None:
            if intake.has_extra_memory or intake.is_starved:
                self._forget_body()
        elif transaction.octets > FREE_OCTETS:
            self._ask_for_memory(transaction.octets)

    # --- message data

    def _begin_body(self, reader: DataReader | ChunkReader, reply: Reply | None) -> None:
        if reply is not None:
            self.say(reply)
        self.intake.begin(reader)
        self.mode = _BODY

    def _take_body(self) -> bool:
        """Read message data from the input; return whether its end was reached."""
        intake, transaction = self.intake, self.state.transaction
        reader = intake.reader
        if reader is None:
            return False
        piece = intake.next_piece(self._input, self._at)
        size = len(piece)
        held = reader.held + size + (0 if transaction is None else transaction.octets)
        if held > FREE_OCTETS and self._ask_for_memory(held):
            return False
        self.progress += size
        self._at += size
        intake.octets += size
        rest = reader.feed(piece)
        if rest is None:
            self._input, self._at = b"", 0
            return self._later is not None
        intake.reader = None
        if isinstance(reader, DataReader):
            self._input, self._at = rest, 0
            self.verb = "DATA"
            self._end_of_data(reader)
        else:
            self.verb = "BDAT"
            self._end_of_chunk(reader)
        return True

    def _ask_for_memory(self, octets: int) -> bool:
        """Ask for memory to hold `octets` bytes if needed; return whether the session must wait."""
        wanted = self.intake.ask(octets)
        if wanted:
            self.requests.append(NeedMemory(wanted))
        return self.intake.is_starved

    def _end_of_data(self, reader: DataReader) -> None:
        if reader.is_too_big:
            self._refuse_body(replies.TOO_BIG)
        else:
            self._check_body(reader.take())

    def _end_of_chunk(self, reader: ChunkReader) -> None:
        if reader.refusal is not None:
            self._refuse_body(reader.refusal)
        elif reader.is_last:
            self._check_body(reader.take())
        else:
            self.say(replies.bdat_received(reader.octets))
            self._resume()

    def _check_body(self, body: bytes) -> None:
        transaction = self.state.transaction
        offer = self.state.offer
        if self.state.transcript is not None:
            self._noted(f"{len(body)} bytes of message data")
        refusal = check_body(body, strict=offer.is_strict, takes_lf=offer.takes_bare_lf)
        if refusal is replies.MESSAGE_LINE_TOO_LONG:
            refusal = offer.wording.long_line
        if refusal is not None or transaction is None:
            self._refuse_body(refusal or replies.NEED_MAIL)
            return
        if self.state.find_fault is not None and self._is_lost(self._hindrance("eod")):
            return
        self.state.take_transaction()
        self.mode = _WAITING
        self.requests.append(Keep(self._envelope(transaction), body))

    def _envelope(self, transaction: Transaction) -> Envelope:
        # The `with` keyword of Received (RFC 3848, RFC 6531 section 4.3).
        state = self.state
        protocol = "SMTP"
        if state.is_extended:
            protocol = "UTF8SMTP" if transaction.is_utf8 else "ESMTP"
            if state.tls or state.user:
                protocol += ("S" if state.tls else "") + ("A" if state.user else "")
        return Envelope(
            transaction.sender,
            tuple(transaction.recipients),
            transaction.params,
            state.peer,
            state.helo,
            protocol,
            state.offer.domain,
            state.tls,
            state.user,
        )

    def _refuse_body(self, reply: Reply) -> None:
        self._met = None
        self.state.end_transaction(reply, "eod")
        self._forget_body()
        self._say_or_close(reply)
        self._resume()

    def _forget_body(self) -> None:
        if self.intake.forget():
            self.requests.append(ReleaseMemory())

    # --- replies

    def greet(self) -> None:
        """Send the greeting, unless a test hinders it."""
        hindrance = self._hindrance("connect")
        if hindrance is None:
            self.output.append(self.state.offer.greeting.wire)
        else:
            self._hinder(Hindered(None, b"", hindrance))

    def say(self, reply: Reply) -> None:
        """Send a reply to the current command and count it; 421 closes (RFC 5321 section 3.8)."""
        if reply.limit:
            if reply.code == 421:
                self.close(reply)
                return
            self.state.limit_met(reply.limit)
        self._tally[self.verb][reply.code] += 1
        self.output.append(reply.wire)
        if reply.is_refusal and self.state.count_refusal(self.verb, reply):
            self.close(replies.TOO_MANY_ERRORS)

    def close(self, reply: Reply) -> None:
        """Send a last reply and close; buffered input is dropped."""
        if self.mode is not _CLOSED:
            if reply.limit:
                self.state.limit_met(reply.limit)
            self._tally[self.verb][reply.code] += 1
            self.output.append(reply.wire)
            self.has_quit = reply.code == 221
            self.end(None if self.has_quit else reply)

    def interrupt(self, reply: Reply) -> None:
        """Close now, or once the current message is answered (RFC 5321 section 3.8)."""
        if self.is_busy:
            self._last_word = reply
        else:
            self.close(reply)

    def end(self, reply: Reply | None = None) -> None:
        """Close after this reply, if any; a message being stored keeps its memory until it is."""
        if self.mode is not _CLOSED:
            self._break_off(reply)
        if self.mode is not _WAITING or self._then is not None:
            self._forget_body()
        self.mode = _CLOSED
        self._then = None
        self.state.end_transaction()
        self._login = None
        self._forget_input()

    def _break_off(self, reply: Reply | None) -> None:
        """Note a transaction that comes to no end, and where a fault held the session."""
        state, transaction, met = self.state, self.state.transaction, self._met
        self._met = None
        is_in_data = transaction is not None and self.mode is _BODY
        if met is not None:
            is_in_data = is_in_data or met.stage == "eod"
        elif transaction is not None and (is_in_data or transaction.refused is None):
            stage = "data" if is_in_data else "rcpt" if transaction.recipients else "mail"
            met = transaction_facts(state, transaction, stage)
        if is_in_data:
            state.take_transaction()
        if met is not None:
            self.requests.append(Aborted(met, reply, is_in_data))

    def _resume(self) -> None:
        """Read commands again, after an answer or the end of a body."""
        if self.mode is not _CLOSED:
            self.mode = _COMMAND
            if self._last_word is not None:
                self.close(self._last_word)

    # --- messages: what the connection answers

    def memory_is_short(self) -> None:
        """Note that the memory that was asked for is not available yet."""
        self.state.limit_met("max_inflight")

    def granted(self) -> None:
        """Continue: the memory that was asked for is reserved."""
        self.intake.grant()

    def kept(self, message_id: str) -> None:
        """Send 250: the message is stored."""
        self._forget_body()
        self.state.count_message()
        if self.mode is not _CLOSED:
            if self._late_seconds:
                self._pause(self._late_seconds, partial(self._tell_kept, message_id))
                return
            self._tell_kept(message_id)
            self._resume()

    def _tell_kept(self, message_id: str) -> None:
        self._late_seconds = 0.0
        self._tally[self.verb][replies.KEPT_CODE] += 1
        self.output.append(replies.kept(message_id))

    def failed(self, reply: Reply) -> None:
        """Send the reply to a message that could not be stored."""
        self._forget_body()
        self._late_seconds = 0.0
        if self.mode is not _CLOSED:
            self._say_or_close(reply)
            self._resume()

    # --- faults, where a server has them

    def _hindrance(self, stage: str, argument: bytes = b"") -> Hindrance | None:
        find = self.state.find_fault
        known = None if find is None else facts(self.state, stage, argument)
        found = None if find is None or known is None else find(known)
        self._met = None if found is None else known
        return found

    def _hinder(self, what: Hindered) -> None:
        hindrance = what.hindrance
        if hindrance.close_after is not None:
            left = hindrance.close_after - self.buffered
            if left <= 0:
                self._drop()
                return
            self.requests.append(CloseAfter(left))
        if hindrance.seconds:
            self._pause(hindrance.seconds, partial(self._carry_out, what))
        else:
            self._carry_out(what)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self.mode = _WAITING
        self._then = then
        self.requests.append(Pause(seconds))

    def go_on(self) -> None:
        """Continue after a pause."""
        then, self._then = self._then, None
        if then is not None and self.mode is _WAITING:
            self.mode = _COMMAND
            then()
            self._account_for_memory()
            if self.mode is _COMMAND:
                self._resume()

    def _carry_out(self, what: Hindered) -> None:
        """Drop the connection, refuse the command, or handle it after all."""
        verb, argument, hindrance = what
        if hindrance.is_drop:
            self._drop()
            return
        met, self._met = self._met, None
        if hindrance.reply is not None and met is not None and met.sender is None:
            self.requests.append(TurnedAway(met, hindrance.reply))
        if verb is None:
            self._greet_or_refuse(hindrance.reply)
        elif hindrance.reply is not None:
            self.verb = verb.name
            self._refuse_command(verb, argument, hindrance.reply)
        else:
            self.verb = verb.name
            self._take(verb.handle(self.state, argument))

    def _drop(self) -> None:
        self.requests.append(Dropped())
        self.end()

    def _greet_or_refuse(self, reply: Reply | None) -> None:
        if reply is None:
            self.output.append(self.state.offer.greeting.wire)
        else:
            self.close(reply)  # RFC 5321 3.1 lets a server do no more after such a greeting.

    def _refuse_command(self, verb: Verb, argument: bytes, reply: Reply) -> None:
        """Refuse a command as the fault says; a chunk of BDAT is read and dropped all the same."""
        state = self.state
        if verb.name == "BDAT":
            outcome = verb.handle(state, argument)
            if isinstance(outcome, BeginBody) and isinstance(outcome.reader, ChunkReader):
                outcome.reader.refuse(reply)
            self._take(outcome)
            return
        if verb.name == "MAIL":
            note = state.refuse_sender if reply.is_refusal else state.put_off
            note(reply, argument)
        elif verb.name == "RCPT":
            state.refuse_recipient(reply, argument)
        elif verb.name == "DATA":
            state.end_transaction(reply)
        self._say_or_close(reply)

    def _is_lost(self, hindrance: Hindrance | None) -> bool:
        """Whether a message is not stored; one that is only late is told later."""
        if hindrance is None:
            return False
        reply = hindrance.reply
        if hindrance.is_drop or math.isinf(hindrance.seconds):
            then = self._drop
        elif reply is not None:
            then = partial(self._refuse_body, reply)
        else:
            self._late_seconds = hindrance.seconds
            self._met = None
            return False
        if hindrance.seconds:
            self._forget_body()
            self._pause(hindrance.seconds, then)
        else:
            then()
        return True

    # --- messages and commands that a handler decides about

    def taken(self, reply: Reply) -> None:
        """Send the reply to a message that was accepted but not stored here."""
        self._forget_body()
        self.state.count_message()
        if self.mode is not _CLOSED:
            self.say(reply)
            self._resume()

    def _ask(self, asked: Ask) -> None:
        self._asked = asked
        self.mode = _WAITING
        reply = asked.outcome if isinstance(asked.outcome, Reply) else None
        self.requests.append(Decide(self.verb, asked.argument, reply))

    def decided(self, reply: Reply | None = None) -> None:
        """Carry out the command of `Decide`, with this reply or its own; a refusal undoes it."""
        asked, self._asked = self._asked, None
        if self.mode is _CLOSED or asked is None:
            self._forget_body()
            return
        self.mode = Mode.COMMAND
        if reply is not None and reply.code >= 400:
            self.state.undo(self.verb, reply, asked.argument)
            self._say_or_close(reply)
        elif isinstance(asked.outcome, Reply):
            self.say(reply or asked.outcome)
        elif isinstance(asked.outcome, Close) and reply is not None:
            self.close(reply)
        else:
            self._begin(asked.outcome)
        if self.mode is Mode.COMMAND:
            self._resume()

    def _say_or_close(self, reply: Reply) -> None:
        """Send a reply that is not the server's own; 421 closes (RFC 5321 section 3.8)."""
        if reply.code == 421:
            self.close(reply)
        else:
            self.say(reply)

    def drop_question(self) -> None:
        """Wait no longer for an answer: the client has left."""
        self._asked = None
        if self.mode is _WAITING:
            self.mode = Mode.COMMAND

    def refuse_all(self, reply: Reply) -> None:
        """Refuse every further command but QUIT."""
        self._verbs = commands.refusing(reply)

    def challenge(self, wire: bytes) -> None:
        """Send a challenge of an AUTH that was asked about; `Response` brings the answer."""
        if self.mode is not _CLOSED:
            self.mode = Mode.AUTH
            self._tally["AUTH"][replies.CHALLENGE_CODE] += 1
            self.output.append(wire)

    # --- TLS

    def _begin_tls(self) -> None:
        """Send 220 and drop the clear-text input after the command (RFC 3207 section 4.2)."""
        self.say(replies.START_TLS)
        self._forget_input()
        self.state.end_transaction()
        self._forget_body()
        self.mode = _WAITING
        self.requests.append(StartTls(is_jumped=self.has_unread))

    def await_tls(self) -> None:
        """Send nothing before the handshake: TLS is implicit (RFC 8314 section 3.3)."""
        self.mode = _WAITING

    def tls_begins(self) -> None:
        """Drop the clear-text input; the next bytes come out of TLS (RFC 3207 section 4.2)."""
        self._forget_input()

    def tls_started(self, description: str, *, is_greeted: bool = True) -> None:
        """Start again inside TLS, without what the client sent in clear (RFC 3207 section 4.2)."""
        self.state.encrypt(description)
        self._forget_body()
        self._resume()
        if not is_greeted and self.mode is _COMMAND:
            self.greet()

    # --- logins

    def _auth_line(self) -> bool:
        line = self._next_line()
        if line is None:
            return False
        self.verb = "AUTH"
        self._noted("a response of AUTH")
        if self._asked is not None:
            self._respond(line)
            return True
        if self._login is None:
            return False
        if isinstance(line, bytes):
            self._login_step(line)
        else:
            self._login_over(line)
        return True

    def _respond(self, line: bytes | Reply) -> None:
        """Pass on the answer to `challenge`; a bad line ends the exchange."""
        self.mode = _WAITING
        if isinstance(line, bytes):
            self.requests.append(Response(line))
        else:
            self.requests.append(Response(b"*"))

    def _login_step(self, line: bytes | None) -> None:
        """Continue the exchange with the client's response, in base64."""
        if self._login is None:
            return
        try:
            answer = self._login.step(None if line is None else sasl.decode(line))
        except sasl.SaslError as error:
            self._login_over(error.reply)
            return
        if isinstance(answer, bytes):
            self.mode = Mode.AUTH
            self._tally["AUTH"][replies.CHALLENGE_CODE] += 1
            self.output.append(answer)
        elif isinstance(answer, sasl.Confirmed):
            self.state.log_in(answer.user)
            self._login_over(replies.AUTHENTICATED)
        else:
            self.mode = _WAITING
            self.requests.append(CheckLogin(self._login.mechanism, answer))

    def _login_over(self, reply: Reply) -> None:
        self._login = None
        self.mode = _COMMAND
        self.say(reply)

    def login_checked(self, user: str | None, reply: Reply, signature: bytes = b"") -> None:
        """Send the reply to AUTH; `user` is None if the login was not accepted.

        A client that sent a proof receives the server's proof first.
        """
        login, self._login = self._login, None
        if self.mode is _CLOSED:
            return
        self.verb = "AUTH"
        if user is not None and signature:
            self._resume()
            self._confirm(login, user, signature)
            return
        self.state.log_in(user)
        if reply is replies.TOO_MANY_FAILED_LOGINS:  # of this network, in whatever session
            self.close(reply)
            return
        is_last = self.state.count_failed_login(reply)
        self.say(reply)
        if is_last:
            self.close(replies.TOO_MANY_FAILED_LOGINS)
        self._resume()

    def _confirm(self, login: Login | None, user: str, signature: bytes) -> None:
        if self.mode is not _CLOSED and login is not None:
            self._login = Login(login.mechanism, sasl.confirmed(user, signature))
            self._login_step(None)
