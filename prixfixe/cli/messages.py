"""`prixfixe messages`: list what a store holds, newest first.

Owns: the listing's two forms, columns for people and JSON lines for programs.
Promises: nothing a sender chose reaches a terminal but printable characters; one damaged message
is named on standard error, the rest is listed, the exit code is 1.
Refuses: more of a message than its header.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prixfixe.cli.environment import store_reader
from prixfixe.cli.query_filter import matching
from prixfixe.cli.reading import Reading
from prixfixe.mail.header import read_header

if TYPE_CHECKING:
    import argparse

    from prixfixe.mail.message import Message

__all__ = ["run"]

_MAX_HEADER_OCTETS = 65536
_HEADER = f"{'ID':28}  {'RECEIVED':20}  SENDER  RECIPIENTS  BYTES  SUBJECT"


def run(args: argparse.Namespace) -> int:
    """List."""
    with store_reader() as reader, matching(args.query, reader) as matches:
        if sys.stdout.isatty() and not args.json:
            print(_HEADER)
        messages = Reading(reader, reader.ids())
        for message in messages:
            if _is_wanted(message, args.to) and matches(message):
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
    header = read_header(body, 0, min(len(body), _MAX_HEADER_OCTETS))
    return _printable(" ".join(header.text("Subject").split()))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
