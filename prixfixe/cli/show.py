"""`prixfixe show`: print one message exactly as stored, or its text, or one part."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, store_reader
from prixfixe.mail.message import render
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    import argparse

    from prixfixe.mail.message import Message

__all__ = ["show"]


def show(args: argparse.Namespace) -> int:
    """Print one message, its text or a part of it."""
    with store_reader() as reader:
        newest = reader.ids(0, 1) if args.id == "latest" else ()
        try:
            message = reader.get(newest[0] if newest else args.id)
        except DamagedError as error:
            raise Failure(1, error) from None
    if message is None:
        msg = f"no message {args.id!r} in this store"
        raise Failure(1, msg)
    sys.stdout.buffer.write(_wanted(message, args))
    return 0


def _wanted(message: Message, args: argparse.Namespace) -> bytes:
    if args.text:
        # These and the parser take most of the start, and the plain form needs neither.
        from prixfixe.http.api.mailpit import shown_text
        from prixfixe.mail.mime import parse_message

        text = shown_text(parse_message(message.body))
        if sys.stdout.isatty():  # Nothing a sender chose reaches a terminal except text.
            text = "".join(each if each.isprintable() or each in "\n\t" else " " for each in text)
        return text.encode("utf-8", "replace")
    return render(message) if args.part is None else _part(message, args.part)


def _part(message: Message, number: str) -> bytes:
    from prixfixe.mail.mime import parse_message

    parts = {part.number: part for part in parse_message(message.body).parts}
    if number not in parts:
        msg = f"no part {number!a} in this message; it has {', '.join(parts)}"
        raise Failure(1, msg)
    return parts[number].content
