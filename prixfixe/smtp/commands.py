"""The SMTP verbs except MAIL and RCPT: each is a function from state and argument to an outcome.

The table at the end says what must come before each verb.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.smtp import replies, sasl
from prixfixe.smtp.data import ChunkReader, DataReader
from prixfixe.smtp.mail_commands import mail, rcpt
from prixfixe.smtp.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.smtp.hindrance import Hindrance
    from prixfixe.smtp.sasl import Exchange
    from prixfixe.smtp.state import State


__all__ = [
    "VERBS",
    "Ask",
    "BeginBody",
    "BeginLogin",
    "BeginTls",
    "Close",
    "Hindered",
    "Outcome",
    "Verb",
    "asking",
    "auth_barrier",
    "barrier",
    "limited",
    "max_octets",
    "refusing",
]

# A host name or address literal; underscores because real hosts have them.
_HELO = re.compile(
    rb"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_.])?|\[[0-9A-Za-z:._%-]{2,253}\]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_BDAT = re.compile(rb"([0-9]{1,20})(|[ \t].*)")
_AUTH = re.compile(rb"([!-~]+)(?:[ \t]+([!-~]+))?")
# A refused chunk up to this multiple of the limit, or this size, is read and dropped (RFC 3030 2).
# A larger one ends the session, because no client will really send it.
_MAX_DROPPED = 4
_DROPPED_OCTETS = 64 * 2**20


class BeginBody(NamedTuple):
    """Send `reply`, if any; the following input is message data."""

    reader: DataReader | ChunkReader
    reply: Reply | None = None


class BeginTls(NamedTuple):
    """Send 220 and start the TLS handshake."""


class BeginLogin(NamedTuple):
    """Start a SASL exchange; the following lines are its responses."""

    mechanism: str
    exchange: Exchange


class Close(NamedTuple):
    """Send `after`, if any, then `reply`, and close."""

    reply: Reply
    after: Reply | None = None


class Hindered(NamedTuple):
    """Do what a test wants, then perhaps the command; None for `verb` is the greeting."""

    verb: Verb | None
    argument: bytes
    hindrance: Hindrance


class Ask(NamedTuple):
    """Ask the connection before this outcome takes effect."""

    outcome: Reply | BeginBody | BeginTls | BeginLogin | Close | Hindered
    argument: bytes


Outcome = Reply | BeginBody | BeginTls | BeginLogin | Close | Hindered | Ask  # of a command


def helo(state: State, argument: bytes) -> Reply:
    """HELO (RFC 5321 section 4.1.1.1)."""
    return _hello(state, argument, state.offer.helo, is_extended=False)


def ehlo(state: State, argument: bytes) -> Reply:
    """EHLO (RFC 5321 section 4.1.1.1); it ends a transaction as RSET does."""
    has_scram = state.offer.offers_auth and state.find_scram() is not None
    reply = state.offer.ehlo(is_encrypted=state.tls is not None, has_scram=has_scram)
    return _hello(state, argument, reply, is_extended=True)


def _hello(state: State, argument: bytes, reply: Reply, *, is_extended: bool) -> Reply:
    if _HELO.fullmatch(argument) is None:
        return replies.BAD_HELO
    state.say_hello(argument.decode("ascii"), is_extended=is_extended)
    return reply


def data(state: State, argument: bytes) -> Outcome:
    """Read message data to its final dot (RFC 5321 section 4.1.1.4)."""
    if argument:
        return replies.NO_ARGUMENT
    transaction = state.transaction
    if transaction is None:
        return replies.NEED_MAIL
    if transaction.chunks is not None:
        return replies.BDAT_BEGUN
    if not transaction.recipients:
        return replies.NEED_RCPT
    return BeginBody(DataReader(state.offer.max_message_size), replies.START_DATA)


def bdat(state: State, argument: bytes) -> Outcome:
    """BDAT (RFC 3030 section 2): the chunk is read even if it is refused."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        # Without a size, the data that follows cannot be told from commands.
        return _lose_sync(state, replies.BDAT_SYNTAX) if argument else replies.BDAT_SYNTAX
    octets = int(match[1])
    if octets > max(state.offer.max_message_size * _MAX_DROPPED, _DROPPED_OCTETS):
        return _lose_sync(state, replies.TOO_BIG)
    word = match[2].strip(b" \t").upper()
    reader, refusal = _chunk_reader(state, None if word in (b"", b"LAST") else replies.BDAT_SYNTAX)
    reader.begin(octets, is_last=word == b"LAST", refusal=refusal)
    return BeginBody(reader)


def _lose_sync(state: State, reply: Reply) -> Close:
    state.end_transaction(reply)
    return Close(replies.LOST_SYNC, after=reply)


def _chunk_reader(state: State, refusal: Reply | None) -> tuple[ChunkReader, Reply | None]:
    """Return the chunk's reader, and the refusal if the chunk must be dropped."""
    transaction = state.transaction
    refusal = barrier(state, _BDAT_VERB) or refusal
    if refusal is None and transaction is None:
        refusal = replies.NEED_MAIL
    if transaction is None or refusal is not None:
        return ChunkReader(0), refusal
    if transaction.chunks is None:
        transaction.chunks = ChunkReader(state.offer.max_message_size)
    return transaction.chunks, None if transaction.recipients else replies.NEED_RCPT


def rset(state: State, argument: bytes) -> Reply:
    """RSET (RFC 5321 section 4.1.1.5)."""
    if argument:
        return replies.NO_ARGUMENT
    state.end_transaction()
    return replies.OK


def _is_text(argument: bytes, charset: str = "ascii") -> bool:
    """Whether an ignored argument is text without control characters (RFC 5321 section 2.4)."""
    try:
        return _CONTROL.search(argument.decode(charset)) is None
    except UnicodeDecodeError:
        return False


def noop(_state: State, argument: bytes) -> Reply:
    """NOOP (RFC 5321 section 4.1.1.9): a parameter is ignored."""
    return replies.OK if _is_text(argument) else replies.BAD_CHARACTER


def vrfy(_state: State, argument: bytes) -> Reply:
    """VRFY (RFC 5321 section 3.5.3): 252 for any text, UTF-8 with SMTPUTF8 (RFC 6531 3.7.4.2)."""
    if not argument:
        return replies.NEEDS_ARGUMENT
    is_utf8 = argument[-9:].upper() == b" SMTPUTF8"
    return (
        replies.VRFY
        if _is_text(argument, "utf-8" if is_utf8 else "ascii")
        else replies.BAD_CHARACTER
    )


def help_(_state: State, argument: bytes) -> Reply:
    """HELP (RFC 5321 section 4.1.1.8)."""
    return replies.HELP if _is_text(argument) else replies.BAD_CHARACTER


def quit_(_state: State, argument: bytes) -> Outcome:
    """QUIT (RFC 5321 section 4.1.1.10)."""
    if argument:
        return replies.NO_ARGUMENT
    return Close(replies.BYE)


def not_implemented(_state: State, _argument: bytes) -> Reply:
    """EXPN, TURN, ETRN, SEND, SOML, SAML: known, not offered (RFC 5321 section 4.2.4)."""
    return replies.NOT_IMPLEMENTED


def starttls(state: State, argument: bytes) -> Outcome:
    """STARTTLS (RFC 3207 section 4)."""
    if argument:
        return replies.NO_ARGUMENT
    if state.tls is not None:
        return replies.TLS_ACTIVE
    if not state.offer.offers_tls:
        return state.offer.wording.no_tls
    return BeginTls()


def auth(state: State, argument: bytes) -> Outcome:
    """AUTH (RFC 4954 section 4)."""
    refusal = auth_barrier(state)
    if refusal is not None:
        return refusal
    words = _AUTH.fullmatch(argument)
    if words is None:
        return replies.AUTH_SYNTAX
    mechanism = words[1].upper()
    exchange = _exchange(state, mechanism)
    if exchange is None:
        return replies.UNKNOWN_MECHANISM
    try:
        initial = sasl.decode_initial(words[2]) if words[2] else None
    except sasl.SaslError as error:
        return error.reply
    return BeginLogin(mechanism.decode("ascii"), exchange(initial))


def _exchange(state: State, mechanism: bytes) -> Callable[[bytes | None], Exchange] | None:
    if mechanism != sasl.SCRAM:
        return sasl.EXCHANGES.get(mechanism)
    keys_of = state.find_scram()
    return None if keys_of is None else partial(sasl.scram, keys_of=keys_of)


def auth_barrier(state: State) -> Reply | None:
    """Return the refusal of AUTH in this state, whatever its argument, or None."""
    if not state.offers_auth:
        could = state.offer.offers_auth and state.offer.offers_tls
        return replies.AUTH_NEEDS_TLS if could else replies.AUTH_NOT_OFFERED
    if not state.is_extended:
        return replies.SEND_EHLO_FIRST
    if state.user is not None:
        return replies.AUTH_DONE
    if state.transaction is not None:
        return replies.AUTH_IN_TRANSACTION
    return None


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: its handler, its longest line in bytes with CRLF, and its preconditions."""

    name: str
    handle: Callable[[State, bytes], Outcome]
    max_octets: int = 512  # RFC 5321 4.5.3.1.4
    needs_helo: bool = False
    needs_auth: bool = False
    before_tls: bool = False


# 512 and what each offered extension adds: SIZE 26, BODY 17, SMTPUTF8 10, DSN 107 (RFC 3461 4).
_MAIL_OCTETS = 512 + 26 + 17 + 10 + 107
# AUTH= of MAIL adds 500 (RFC 4954 3) where AUTH is offered.
_AUTH_PARAMETER_OCTETS = 500
_RCPT_OCTETS = 512 + 10 + 540  # RFC 3461 4: NOTIFY and ORCPT
_AUTH_OCTETS = 12288  # RFC 4954 4

_BDAT_VERB = Verb("BDAT", bdat, needs_helo=True, needs_auth=True)
_TABLE = (
    Verb("HELO", helo),
    Verb("EHLO", ehlo, before_tls=True),
    Verb("MAIL", mail, _MAIL_OCTETS, needs_helo=True, needs_auth=True),
    Verb("RCPT", rcpt, _RCPT_OCTETS, needs_helo=True, needs_auth=True),
    Verb("DATA", data, needs_helo=True, needs_auth=True),
    Verb("BDAT", bdat, before_tls=True),  # `bdat` checks _BDAT_VERB's preconditions per chunk
    Verb("RSET", rset),
    Verb("NOOP", noop, before_tls=True),
    Verb("QUIT", quit_, before_tls=True),
    Verb("VRFY", vrfy, _MAIL_OCTETS, needs_auth=True),
    Verb("HELP", help_),
    Verb("STARTTLS", starttls, before_tls=True),
    Verb("AUTH", auth, _AUTH_OCTETS),
    *(Verb(name, not_implemented) for name in ("EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML")),
)
VERBS = {verb.name.encode("ascii"): verb for verb in _TABLE}


def asking(verb: Verb) -> Verb:
    """Return a verb that asks the connection (`Decide`) whenever this one would not refuse."""
    handle = verb.handle

    def ask(state: State, argument: bytes) -> Outcome:
        outcome = handle(state, argument)
        if isinstance(outcome, Ask) or (isinstance(outcome, Reply) and outcome.code >= 400):
            return outcome
        return Ask(outcome, argument)

    return replace(verb, handle=ask)


def limited(verb: Verb, most: int) -> Verb:
    """Return a verb that a session may call at most so many times; one more ends it with 421."""
    handle = verb.handle

    def count(state: State, argument: bytes) -> Outcome:
        calls = state.calls = state.calls or {}
        calls[verb.name] = calls.get(verb.name, 0) + 1
        if calls[verb.name] > most:
            return Close(replies.TOO_MANY_CALLS)
        return handle(state, argument)

    return replace(verb, handle=count)


def refusing(reply: Reply) -> dict[bytes, Verb]:
    """Return a table in which every verb but QUIT is refused with this reply."""

    def refuse(_state: State, _argument: bytes) -> Reply:
        return reply

    return {
        name: verb if name == b"QUIT" else Verb(verb.name, refuse, verb.max_octets)
        for name, verb in VERBS.items()
    }


def max_octets(state: State, verb: Verb) -> int:
    """Return the longest line of a verb in this session, in bytes with its CRLF."""
    return verb.max_octets + (
        _AUTH_PARAMETER_OCTETS if verb.name == "MAIL" and state.offers_auth else 0
    )


def barrier(state: State, verb: Verb) -> Reply | None:
    """Return the refusal of a verb whose preconditions are not met, or None."""
    offer = state.offer
    if offer.requires_tls and state.tls is None and not verb.before_tls:
        return replies.NEEDS_TLS
    if verb.needs_helo and not state.helo:
        return replies.SEND_EHLO_FIRST
    if verb.needs_auth and offer.requires_auth and state.user is None:
        return replies.NEEDS_AUTH
    return None
