"""The name and the content of a message's file in a Maildir.

A name is `<unix seconds>.<id>.<host>,B=<bytes of the body>`; mail programs may add `:2,<flags>`.
A file is `Return-Path`, `Received`, the field `X-PrixFixe-Envelope`, then the body byte for byte.
The field has the length of a JSON record, a checksum of record and body, and the record, folded at
fixed places. `decode(encode(m)) == m` holds, and a wrong checksum raises `DamagedError`.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from typing import NamedTuple

from prixfixe.mail.message import Envelope, Message, is_id, trace_headers
from prixfixe.stores.base import Arrival, DamagedError

__all__ = ["Name", "decode", "encode", "file_name", "make_name", "parse_name", "read"]

_FIELD = b"X-PrixFixe-Envelope: "
# Below 998 with the field's name, length and checksum before it (RFC 5322 section 2.1.1).
_FOLD_AT = 900
_FOLD = b"\r\n "
_NAME = re.compile(r"(\d+)\.([0-9A-Za-z_-]{1,32})\.[^.,:/][^,:/]*,B=(\d+)(?:[,:].*)?")
_VALUE = re.compile(rb"(\d{1,9}) ([0-9a-f]{8}) ")
# `Return-Path` and `Received` have an address of 254 bytes, another one, and two names at most.
_HEAD_BYTES = 64 << 10
_RECORD_BYTES = 64 << 20  # more than the recipients of any message take


class Name(NamedTuple):
    """What the name of a file tells without opening it."""

    id: str
    seconds: int
    size: int


def make_name(message: Message, host: str) -> str:
    """Return the name of a message's file; the id makes it unique. Raises `ValueError`."""
    return file_name(Arrival(message.id, message.received_at, len(message.body)), host)


def file_name(arrival: Arrival, host: str) -> str:
    """Return the name of the file of a message that is known by id, time and size.

    Raises:
        ValueError: the id is no name for a file.

    """
    if not is_id(arrival.id):
        raise ValueError(f"id {arrival.id!a} is no name for a file")
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


def read(path: str, name: Name) -> Message:
    """Return the message of a file, which is read to its end only if it has the size of its name.

    Raises:
        DamagedError: it is no file, or not as it was written.
        OSError: it cannot be read.

    """
    # A pipe would be waited for, and a link leads anywhere.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  # a descriptor has no Path
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError("not a regular file")
        head = file.read(_HEAD_BYTES)
        field = _field(head)
        if status.st_size != field.body_at + name.size:
            raise DamagedError(f"{status.st_size} bytes, {field.body_at + name.size} expected")
        message = decode(head + file.read(field.body_at + name.size - len(head)))
    if message.id != name.id:
        raise DamagedError("its record has another id than its name")
    return message


class _Field(NamedTuple):
    """Where the record is, what its checksum is, and where the body begins."""

    record: slice
    crc: int
    body_at: int


def _field(content: bytes) -> _Field:
    # Only `Return-Path` and `Received`, written by us, can stand before the field.
    start = content.find(b"\r\n" + _FIELD) + 2 + len(_FIELD)
    value = _VALUE.match(content, start)
    if value is None:
        raise DamagedError("no envelope record")
    length = int(value[1])
    if length > _RECORD_BYTES:
        raise DamagedError(f"an envelope record of {length} bytes")
    end = value.end() + length + len(_FOLD) * ((length - 1) // _FOLD_AT)
    return _Field(slice(value.end(), end), int(value[2], 16), end + 2)


def decode(content: bytes) -> Message:
    """Return the message a file holds.

    Raises:
        DamagedError: the file is not as it was written.

    """
    field = _field(content)
    text, body = content[field.record].replace(_FOLD, b""), content[field.body_at :]
    if zlib.crc32(body, zlib.crc32(text)) != field.crc:
        raise DamagedError("checksum differs")
    try:
        record = json.loads(text)
        envelope = Envelope.from_json(record["envelope"])
        return Message(str(record["id"]), float(record["received_at"]), envelope, body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"envelope record: {error}") from error
