"""Paths as aiosmtpd reads them: beyond RFC 5321, without brackets or with comments.

Tests and scripts send such paths. Only controllers read them; `prixfixe serve` does not.
"""

from __future__ import annotations

from dataclasses import replace
from email._header_value_parser import get_addr_spec, get_angle_addr
from email.errors import HeaderParseError
from typing import TYPE_CHECKING

from prixfixe.smtp import replies
from prixfixe.smtp.address import AddressError, parse_path
from prixfixe.smtp.parameters import ParameterError
from prixfixe.smtp.replies import Reply

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP

    from prixfixe.smtp.commands import Outcome, Verb
    from prixfixe.smtp.state import State

__all__ = ["bounded", "read_path"]

_TROUBLE = (HeaderParseError, IndexError, RecursionError, ValueError)


def read_path(text: str) -> tuple[str, str]:
    """Split a path and the rest, which begins with a space if it is not empty.

    Raises:
        AddressError: there is no path.
        ParameterError: the path is none for aiosmtpd either, and its reply says so.

    """
    try:
        return parse_path(text)
    except AddressError:
        if not text:
            raise
        return _read_mailbox(text)


def _read_mailbox(text: str) -> tuple[str, str]:
    read = get_angle_addr if text.startswith("<") else get_addr_spec
    try:
        token, rest = read(text)
        address = str(token.addr_spec)
    except _TROUBLE as error:
        raise ParameterError(replies.BAD_MAILBOX) from error
    if not address.strip() or not address.isprintable():
        raise ParameterError(replies.BAD_MAILBOX)
    rest = f" {rest.strip()}" if rest.strip() else ""
    return ("" if address == "<>" else address), rest


def bounded(template: SMTP, verb: Verb) -> Verb:
    """Return MAIL or RCPT with aiosmtpd's `local_part_limit`, in characters; 0 is any."""
    handle = verb.handle

    def bound(state: State, argument: bytes) -> Outcome:
        outcome = handle(state, argument)
        limit, transaction = template.local_part_limit, state.transaction
        if not limit or transaction is None:
            return outcome
        if not isinstance(outcome, Reply) or outcome.code >= 400:
            return outcome
        is_sender = verb.name == "MAIL"
        address = transaction.sender if is_sender else transaction.recipients[-1].address
        if len(address.rpartition("@")[0]) <= limit:
            return outcome
        if is_sender:
            state.transaction = None
        else:
            transaction.remove_last()
        return replies.BAD_MAILBOX

    return replace(verb, handle=bound)
