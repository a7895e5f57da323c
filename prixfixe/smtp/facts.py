"""What a session knows at a stage, for whoever looks for a fault there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prixfixe.smtp.address import AddressError, parse_path
from prixfixe.smtp.hindrance import Facts

if TYPE_CHECKING:
    from prixfixe.smtp.state import State
    from prixfixe.smtp.transaction import Transaction

__all__ = ["address_in", "facts", "said_address", "transaction_facts"]

_PATH = re.compile(rb"<([^<>]*)>")  # in an argument that may have none


def address_in(argument: bytes) -> str | None:
    """Return the address in the argument of MAIL or RCPT, or None if it has no valid one."""
    _, _, path = argument.partition(b":")
    try:
        return parse_path(path.decode().lstrip(" "))[0]
    except (AddressError, UnicodeDecodeError):
        return None


def said_address(argument: bytes) -> str:
    """Return what an argument of MAIL or RCPT names, well-formed or not; "" for nothing legible."""
    found = _PATH.search(argument)
    address = found[1].decode("utf-8", "replace") if found else ""
    return address if address.isprintable() else ""


def facts(state: State, stage: str, argument: bytes = b"") -> Facts | None:
    """Return what is known at a stage, or None if the command is out of place or malformed."""
    transaction = state.transaction
    if stage in ("connect", "ehlo"):
        return Facts(stage, state.peer, argument.decode("ascii", "replace"))
    if stage in ("starttls", "auth"):
        return Facts(stage, state.peer, state.helo)
    if stage == "mail":
        sender = None if transaction is not None else address_in(argument)
        return None if sender is None else Facts(stage, state.peer, state.helo, sender)
    if transaction is None:
        return None
    if stage == "rcpt":
        address = address_in(argument)
        named: tuple[str, ...] = (address,) if address else ()
    else:
        is_begun = stage == "data" and transaction.chunks is not None
        named = () if is_begun else tuple(one.address for one in transaction.recipients)
    return Facts(stage, state.peer, state.helo, transaction.sender, named) if named else None


def transaction_facts(state: State, transaction: Transaction, stage: str) -> Facts:
    """Return what is known of a transaction that ends at a stage."""
    named = tuple(one.address for one in transaction.recipients)
    return Facts(stage, state.peer, state.helo, transaction.sender, named)
