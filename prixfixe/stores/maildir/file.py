"""The form of a message in a Maildir: its name and its content.

Owns: both directions. A name is `<unix seconds>.<id>.<host>,B=<octets of the body>`; mail programs
may add `:2,<flags>`. A file is `Return-Path` and `Received`, one field `X-PrixFixe-Envelope`, then
the body octet for octet. The field's value is the length of a JSON record, the checksum of that
record and the body, and the record, folded at fixed places: where it ends, the body begins,
whatever the body's first line looks like.
The size in the name lets a reader add up the store without opening a file. Its price: a repeated
id is refused only with the same size. `IdSource` never repeats one; nothing is overwritten anyway.
Promises: `decode(encode(m)) == m`; no line of the field exceeds 998 octets; what does not fit its
checksum is a `DamagedError`.
Refuses: the disk.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import NamedTuple

from prixfixe.mail.message import Envelope, Message, trace_headers
from prixfixe.stores.base import Arrival, DamagedError

__all__ = ["Name", "decode", "encode", "file_name", "make_name", "parse_name"]

_FIELD = b"X-PrixFixe-Envelope: "
# Below 998 with the field's name, length and checksum before it (RFC 5322 section 2.1.1).
_FOLD_AT = 900
_FOLD = b"\r\n "
_NAME = re.compile(r"(\d+)\.([0-9A-Za-z_-]{1,32})\.[^.,:/][^,:/]*,B=(\d+)(?:[,:].*)?")
_VALUE = re.compile(rb"(\d{1,9}) ([0-9a-f]{8}) ")


class Name(NamedTuple):
    """What the name of a file tells without opening it."""

    id: str
    seconds: int
    size: int


def make_name(message: Message, host: str) -> str:
    """Return the name of a message's file; the id makes it unique."""
    return file_name(Arrival(message.id, message.received_at, len(message.body)), host)


def file_name(arrival: Arrival, host: str) -> str:
    """Return the name of the file of a message that is known by id, time and size."""
    safe = re.sub(r"[^0-9A-Za-z_-]", "-", host) or "localhost"
    return f"{int(arrival.received_at)}.{arrival.id}.{safe},B={arrival.size}"


def parse_name(name: str) -> Name | None:
    """Return what a name tells, or None when the file is not ours."""
    match = _NAME.fullmatch(name)
    return Name(match[2], int(match[1]), int(match[3])) if match else None


def encode(message: Message) -> tuple[bytes, bytes]:
    """Return what goes before the body, and the body itself, uncopied."""
    record = {
        "id": message.id,
        "received_at": message.received_at,
        "size": len(message.body),
        "envelope": message.envelope.to_json(),
    }
    text = json.dumps(record, separators=(",", ":")).encode("ascii")
    crc = zlib.crc32(message.body, zlib.crc32(text))
    folded = _FOLD.join(text[at : at + _FOLD_AT] for at in range(0, len(text), _FOLD_AT))
    head = b"%s%s%d %08x %s\r\n" % (trace_headers(message), _FIELD, len(text), crc, folded)
    return head, message.body


def decode(content: bytes) -> Message:
    """Return the message a file holds.

    Raises:
        DamagedError: the file is not as it was written.

    """
    # Only `Return-Path` and `Received`, written by us, can stand before the field.
    start = content.find(b"\r\n" + _FIELD) + 2 + len(_FIELD)
    value = _VALUE.match(content, start)
    if value is None:
        raise DamagedError("no envelope record")
    length, crc = int(value[1]), int(value[2], 16)
    end = value.end() + length + len(_FOLD) * ((length - 1) // _FOLD_AT)
    text, body = content[value.end() : end].replace(_FOLD, b""), content[end + 2 :]
    if zlib.crc32(body, zlib.crc32(text)) != crc:
        raise DamagedError("checksum differs")
    try:
        record = json.loads(text)
        envelope = Envelope.from_json(record["envelope"])
        return Message(record["id"], record["received_at"], envelope, body)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"envelope record: {error}") from error
