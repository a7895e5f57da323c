"""MAIL and RCPT: sender and recipients with their parameters."""

from __future__ import annotations

import re
from sys import getsizeof
from typing import TYPE_CHECKING

from prixfixe.mail.message import Recipient
from prixfixe.smtp import replies
from prixfixe.smtp.address import MAX_PLAIN_OCTETS, PLAIN_PATH, AddressError, parse_path
from prixfixe.smtp.parameters import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    ParameterError,
    parse_parameters,
)
from prixfixe.smtp.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prixfixe.mail.message import Params
    from prixfixe.smtp.replies import Reply
    from prixfixe.smtp.state import State

__all__ = ["mail", "rcpt"]

RECIPIENT_OCTETS = 160  # of Python objects for a recipient or a parameter, without its text
PARAMETER_OCTETS = 160

# Nearly every client sends this form: one search instead of the full grammar.
_PLAIN_MAIL = re.compile(f"(?i:FROM):{PLAIN_PATH}".encode("ascii")).fullmatch
_PLAIN_RCPT = re.compile(f"(?i:TO):{PLAIN_PATH}".encode("ascii")).fullmatch


def _known_to_mail(state: State) -> Mapping[str, Callable[[str | None], bool]]:
    """Return the parameters of MAIL that are offered."""
    if state.offers_auth and state.offer.offers_utf8:
        return MAIL_PARAMETERS
    off = {"AUTH"} if not state.offers_auth else set()
    off |= {"SMTPUTF8"} if not state.offer.offers_utf8 else set()
    return {name: check for name, check in MAIL_PARAMETERS.items() if name not in off}


def mail(state: State, argument: bytes) -> Reply:
    """MAIL (RFC 5321 section 4.1.1.2)."""
    if state.transaction is not None:
        return state.refuse_sender(replies.NESTED_MAIL, argument)
    if state.messages >= state.offer.max_messages:
        return state.put_off(replies.TOO_MANY_MESSAGES, argument)
    hold = state.find_hold()
    if hold is not None:
        return state.put_off(hold, argument)
    if len(argument) <= MAX_PLAIN_OCTETS and (plain := _PLAIN_MAIL(argument)) is not None:
        state.begin_transaction(Transaction(plain[1].decode("ascii"), (), is_utf8=False))
        return replies.SENDER_OK
    reply = _mail_in_full(state, argument)
    return reply if reply is replies.SENDER_OK else state.refuse_sender(reply, argument)


def _mail_in_full(state: State, argument: bytes) -> Reply:
    text = _after(b"FROM:", argument, state)
    if text is None:
        return replies.MAIL_SYNTAX
    try:
        sender, rest = state.offer.read_path(text)
        params = _parameters(state, rest, _known_to_mail(state))
    except AddressError:
        return replies.BAD_SENDER
    except ParameterError as error:
        return error.reply
    is_bare = sender and "@" not in sender  # Only a recipient may be a bare postmaster.
    if is_bare and state.offer.read_path is parse_path:
        return replies.BAD_SENDER
    return _open_transaction(state, sender, params, is_ascii=text.isascii())


def _open_transaction(state: State, sender: str, params: Params, *, is_ascii: bool) -> Reply:
    is_utf8 = False
    for name, value in params:
        if name == "SIZE" and int(value or 0) > state.offer.max_message_size:
            return replies.TOO_BIG
        is_utf8 = is_utf8 or name == "SMTPUTF8"
    if not is_utf8 and not is_ascii:
        return replies.NEEDS_SMTPUTF8
    state.begin_transaction(Transaction(sender, params, is_utf8=is_utf8))
    return replies.SENDER_OK


def rcpt(state: State, argument: bytes) -> Reply:
    """RCPT (RFC 5321 section 4.1.1.3)."""
    reply = _barrier(state)
    if reply is None:
        if len(argument) <= MAX_PLAIN_OCTETS and (plain := _PLAIN_RCPT(argument)) is not None:
            reply = _add_recipient(state, Recipient(plain[1].decode("ascii")), len(argument))
        else:
            reply = _rcpt_in_full(state, argument)
    if reply is not replies.RECIPIENT_OK:
        state.refuse_recipient(reply, argument)
    return reply


def _barrier(state: State) -> Reply | None:
    """Return why there can be no recipient now; the grammar costs more and comes later."""
    transaction, offer = state.transaction, state.offer
    if transaction is None:
        return replies.NEED_MAIL
    if transaction.chunks is not None:
        return replies.BDAT_BEGUN
    is_full = len(transaction.recipients) >= offer.max_recipients
    if is_full or transaction.octets > offer.max_envelope_octets:
        return replies.TOO_MANY_RECIPIENTS
    return None


def _rcpt_in_full(state: State, argument: bytes) -> Reply:
    text = _after(b"TO:", argument, state)
    if text is None:
        return replies.RCPT_SYNTAX
    try:
        address, rest = state.offer.read_path(text)
        params = _parameters(state, rest, RCPT_PARAMETERS)
    except AddressError:
        return replies.BAD_RECIPIENT
    except ParameterError as error:
        return error.reply
    # Non-ASCII in a route or a parameter needs SMTPUTF8 too.
    if not text.isascii() and not (state.transaction and state.transaction.is_utf8):
        return replies.NEEDS_SMTPUTF8
    octets = getsizeof(address) + sum(PARAMETER_OCTETS + getsizeof(value) for _, value in params)
    return _add_recipient(state, Recipient(address, params), octets)


def _add_recipient(state: State, recipient: Recipient, octets: int) -> Reply:
    """Add an allowed recipient whose text takes about `octets` bytes of memory."""
    if not recipient.address:
        return replies.BAD_RECIPIENT
    refusal = state.offer.recipients.refusal(recipient.address)
    if refusal is not None:
        return refusal
    if state.transaction is not None:
        state.transaction.add(recipient, RECIPIENT_OCTETS + octets)
    return replies.RECIPIENT_OK


def _after(keyword: bytes, argument: bytes, state: State) -> str | None:
    """Return the text after `FROM:` or `TO:`, or None when it is not there or not UTF-8."""
    size = len(keyword)
    if argument[:size].upper() != keyword:
        return None
    try:
        text = argument[size:].decode().lstrip(" ")
    except UnicodeDecodeError:
        return None
    # Encoding the domain of a long one takes up to a millisecond.
    state.is_slow = len(argument) > MAX_PLAIN_OCTETS and not text.isascii()
    return text


def _parameters(
    state: State, text: str, known: Mapping[str, Callable[[str | None], bool]]
) -> Params:
    if text and not state.is_extended:  # HELO sessions have no parameters.
        raise ParameterError(state.offer.wording.parameter_after_helo)
    return parse_parameters(text, known)
