"""MAIL and RCPT: what a client says of a message before it sends it.

Owns: sender and recipients with their parameters, from the octets of an argument to the
transaction.
Promises: a transaction begins, or gets a recipient, only with the 250 that says so; nothing but
ASCII is taken without SMTPUTF8 (RFC 6531 section 3.4), nor AUTH= where AUTH is not offered.
Refuses: the grammar (see `address`, `params`), and who may be a recipient (see `policy`).
"""

from __future__ import annotations

import re
from sys import getsizeof
from typing import TYPE_CHECKING

from prixfixe import replies
from prixfixe.address import MAX_PLAIN_OCTETS, PLAIN_PATH, AddressError, parse_path
from prixfixe.message import Recipient
from prixfixe.params import MAIL_PARAMETERS, RCPT_PARAMETERS, ParameterError, parse_parameters
from prixfixe.session.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prixfixe.message import Params
    from prixfixe.replies import Reply
    from prixfixe.session.conversation import Conversation

__all__ = ["mail", "offers_auth", "rcpt"]

RECIPIENT_OCTETS = 160  # what Python takes for a recipient beside its text, and for a parameter
PARAMETER_OCTETS = 160

# What nearly every client sends: one search instead of a walk through the grammar.
_PLAIN_MAIL = re.compile(f"(?i:FROM):{PLAIN_PATH}".encode("ascii")).fullmatch
_PLAIN_RCPT = re.compile(f"(?i:TO):{PLAIN_PATH}".encode("ascii")).fullmatch
_WITHOUT_AUTH = {name: check for name, check in MAIL_PARAMETERS.items() if name != "AUTH"}


def mail(d: Conversation, argument: bytes) -> Reply:
    """MAIL (RFC 5321 section 4.1.1.2)."""
    if d.transaction is not None:
        return replies.NESTED_MAIL
    refusal = d.outside.before_message()
    if refusal is not None:
        return refusal
    if len(argument) <= MAX_PLAIN_OCTETS and (plain := _PLAIN_MAIL(argument)) is not None:
        d.transaction = Transaction(plain[1].decode("ascii"), (), is_utf8=False)
        return replies.SENDER_OK
    return _mail_in_full(d, argument)


def _mail_in_full(d: Conversation, argument: bytes) -> Reply:
    text = _after(b"FROM:", argument)
    if text is None:
        return replies.MAIL_SYNTAX
    try:
        sender, rest = parse_path(text)
        params = _parameters(d, rest, MAIL_PARAMETERS if offers_auth(d) else _WITHOUT_AUTH)
    except AddressError:
        return replies.BAD_SENDER
    except ParameterError as error:
        return error.reply
    if sender and "@" not in sender:  # Only a recipient may be a bare postmaster.
        return replies.BAD_SENDER
    return _open_transaction(d, sender, params, is_ascii=text.isascii())


def _open_transaction(d: Conversation, sender: str, params: Params, *, is_ascii: bool) -> Reply:
    is_utf8 = False
    for name, value in params:
        if name == "SIZE" and int(value or 0) > d.terms.max_message_size:
            return replies.TOO_BIG
        is_utf8 = is_utf8 or name == "SMTPUTF8"
    if not is_utf8 and not is_ascii:
        return replies.NEEDS_SMTPUTF8
    d.transaction = Transaction(sender, params, is_utf8=is_utf8)
    return replies.SENDER_OK


def rcpt(d: Conversation, argument: bytes) -> Reply:
    """RCPT (RFC 5321 section 4.1.1.3)."""
    reply = _barrier(d)
    if reply is None:
        if len(argument) <= MAX_PLAIN_OCTETS and (plain := _PLAIN_RCPT(argument)) is not None:
            reply = _add_recipient(d, Recipient(plain[1].decode("ascii")), len(argument))
        else:
            reply = _rcpt_in_full(d, argument)
    if reply is not replies.RECIPIENT_OK:
        d.outside.recipient_refused(reply, argument)
    return reply


def _barrier(d: Conversation) -> Reply | None:
    """Return why there can be no recipient now; asked before the grammar, which is dearer."""
    transaction, terms = d.transaction, d.terms
    if transaction is None:
        return replies.NEED_MAIL
    if transaction.chunks is not None:
        return replies.BDAT_BEGUN
    is_full = len(transaction.recipients) >= terms.max_recipients
    if is_full or transaction.octets > terms.max_envelope_octets:
        return replies.TOO_MANY_RECIPIENTS
    return None


def _rcpt_in_full(d: Conversation, argument: bytes) -> Reply:
    text = _after(b"TO:", argument)
    if text is None:
        return replies.RCPT_SYNTAX
    try:
        address, rest = parse_path(text)
        params = _parameters(d, rest, RCPT_PARAMETERS)
    except AddressError:
        return replies.BAD_RECIPIENT
    except ParameterError as error:
        return error.reply
    # A route or a parameter counts too.
    if not text.isascii() and not (d.transaction and d.transaction.is_utf8):
        return replies.NEEDS_SMTPUTF8
    octets = getsizeof(address) + sum(PARAMETER_OCTETS + getsizeof(value) for _, value in params)
    return _add_recipient(d, Recipient(address, params), octets)


def _add_recipient(d: Conversation, recipient: Recipient, octets: int) -> Reply:
    """Take a recipient that has about so many octets of text in memory."""
    if not recipient.address:
        return replies.BAD_RECIPIENT
    refusal = d.terms.recipients.judge(recipient.address)
    if refusal is not None:
        return refusal
    d.add_recipient(recipient, RECIPIENT_OCTETS + octets)
    return replies.RECIPIENT_OK


def _after(keyword: bytes, argument: bytes) -> str | None:
    """Return the text after `FROM:` or `TO:`, or None when it is not there or not UTF-8."""
    size = len(keyword)
    if argument[:size].upper() != keyword:
        return None
    try:
        return argument[size:].decode().lstrip(" ")
    except UnicodeDecodeError:
        return None


def _parameters(
    d: Conversation, text: str, known: Mapping[str, Callable[[str | None], bool]]
) -> Params:
    if text and not d.is_extended:  # HELO sessions have no parameters.
        raise ParameterError(replies.UNKNOWN_PARAMETER)
    return parse_parameters(text, known)


def offers_auth(d: Conversation) -> bool:
    """Whether AUTH and the parameter of MAIL that goes with it are offered now."""
    return d.terms.may_authenticate(is_encrypted=d.tls is not None)
