"""`prixfixe messages` and `prixfixe show`: list the messages of a store, print one.

Nothing a sender chose reaches a terminal except printable characters. A damaged message is named on
standard error, the rest is listed, the exit code is 1.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from prixfixe.cli.environment import store_reader
from prixfixe.cli.reading import Reading
from prixfixe.mail.mime import decoded

if TYPE_CHECKING:
    import argparse

    from prixfixe.mail.message import Message

__all__ = ["run"]

_MAX_HEADER_OCTETS = 65536


def run(args: argparse.Namespace) -> int:
    """List."""
    with store_reader() as reader:
        messages = Reading(reader, reader.ids())
        for message in messages:
            if _is_wanted(message, args.to):
                print(_as_json(message) if args.json else _as_line(message))
    return 1 if messages.damaged else 0


def _is_wanted(message: Message, to: str | None) -> bool:
    recipients = (recipient.address.lower() for recipient in message.envelope.recipients)
    return to is None or to.lower() in recipients


def _time(message: Message) -> str:
    return datetime.fromtimestamp(message.received_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_json(message: Message) -> str:
    record = {
        "id": message.id,
        "received_at": _time(message),
        "size": len(message.body),
        "subject": _subject(message.body),
        "envelope": json.loads(message.envelope.to_json()),
    }
    return json.dumps(record)


def _as_line(message: Message) -> str:
    to = ",".join(recipient.address for recipient in message.envelope.recipients)
    fields = (message.id, _time(message), f"<{message.envelope.sender}>", to)
    size = str(len(message.body))
    return "  ".join([*map(_printable, fields), size, _subject(message.body)]).rstrip()


def _subject(body: bytes) -> str:
    """Return the decoded Subject, in one printable line; UTF-8 as it is (RFC 6532)."""
    end = body.find(b"\r\n\r\n", 0, _MAX_HEADER_OCTETS)
    head = BytesHeaderParser().parsebytes(body[: end if end >= 0 else _MAX_HEADER_OCTETS])
    for name, raw in head.raw_items():
        if name.lower() == "subject":
            octets = str(raw).encode("utf-8", "surrogateescape")
            return _printable(decoded(octets.decode("utf-8", "replace")))
    return ""


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
