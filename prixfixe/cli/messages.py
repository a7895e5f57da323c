"""`prixfixe messages`: list the messages of a store, newest first.

Nothing a sender chose reaches a terminal except printable characters. A damaged message is named on
standard error, the rest is listed, the exit code is 1.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prixfixe.cli.environment import complain, printable, store_reader
from prixfixe.cli.query_filter import matching
from prixfixe.mail.header import read_header
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Reader

__all__ = ["Reading", "messages"]

_MAX_HEADER_OCTETS = 65536
_HEADER = f"{'ID':28}  {'RECEIVED':20}  SENDER  RECIPIENTS  BYTES  SUBJECT"


class Reading:
    """An iteration over messages of a store, in the order of their ids.

    A damaged message is named on standard error and counted in `damaged`. So is one that is listed
    but missing, unless it was deleted during the iteration.
    """

    def __init__(self, reader: Reader, ids: Iterable[str]) -> None:
        self.damaged = 0
        self._reader = reader
        self._ids = ids

    def __iter__(self) -> Iterator[Message]:
        missing: list[str] = []
        for message_id in self._ids:
            try:
                message = self._reader.get(message_id)
            except DamagedError as error:
                self.name_damaged(error)
                continue
            if message is None:
                missing.append(message_id)
            else:
                yield message
        listed = set(self._reader.ids()) if missing else set()
        for message_id in missing:
            if message_id in listed:  # otherwise it was deleted meanwhile
                self.name_damaged(f"message {message_id!a} is listed and not there")

    def name_damaged(self, fault: object) -> None:
        """Name a message that cannot be read, and count it."""
        complain(fault)
        self.damaged += 1


def messages(args: argparse.Namespace) -> int:
    """List the messages, newest first."""
    with store_reader() as reader, matching(args.query, reader) as matches:
        if sys.stdout.isatty() and not args.json:
            print(_HEADER)
        found = Reading(reader, reader.ids())
        for message in found:
            if _is_wanted(message, args.to) and matches(message):
                print(_as_json(message) if args.json else _as_line(message))
    return 1 if found.damaged else 0


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
    return "  ".join([*map(printable, fields), size, _subject(message.body)]).rstrip()


def _subject(body: bytes) -> str:
    """Return the decoded Subject as one printable line; raw UTF-8 is allowed (RFC 6532)."""
    header = read_header(body, 0, min(len(body), _MAX_HEADER_OCTETS))
    return printable(" ".join(header.text("Subject").split()))
