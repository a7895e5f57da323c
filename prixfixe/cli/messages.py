"""`prixfixe messages`: list what a store holds, newest first."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from prixfixe.cli.environment import fail, store_reader
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    import argparse

    from prixfixe.message import Message
    from prixfixe.stores.base import Reader

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """List."""
    with store_reader() as reader:
        damaged = 0
        for message_id in reader.ids():
            try:
                message = reader.get(message_id)
            except DamagedError as error:
                fail(1, error)
                damaged += 1
                continue
            if message is not None and _is_wanted(message, args.to):
                print(_as_json(message) if args.json else _as_line(message))
    return 1 if damaged else 0


def latest(reader: Reader) -> str | None:
    """Return the newest message's id."""
    ids = reader.ids(0, 1)
    return ids[0] if ids else None


def _is_wanted(message: Message, to: str | None) -> bool:
    recipients = (recipient.address.lower() for recipient in message.envelope.recipients)
    return to is None or to.lower() in recipients


def _time(message: Message) -> str:
    return datetime.fromtimestamp(message.received_at, UTC).isoformat(timespec="seconds")[:-6] + "Z"


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
    return "  ".join([*map(_printable, fields), str(len(message.body)), _subject(message.body)])


def _subject(body: bytes) -> str:
    """Return the decoded Subject, safe for a terminal."""
    head = body[:65536].partition(b"\r\n\r\n")[0]
    raw = BytesHeaderParser().parsebytes(head).get("Subject", "")
    try:
        text = str(make_header(decode_header(str(raw))))
    except (LookupError, ValueError):  # Unknown or lying charset: show it as it came.
        text = str(raw)
    return _printable(text)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
