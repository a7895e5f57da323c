"""A message as a row of the table, and back; the checksum covers all of it."""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.mail.message import Envelope, Message
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Columns", "checksum", "columns", "message_of", "place_key"]

_KEY_DIGITS = 15  # of an id: its millisecond and some of what is random; they fit 63 bits


class Columns(NamedTuple):
    """The rows of a group, column by column, as one statement takes them."""

    ids: list[str]
    times: list[float]
    sizes: list[int]
    sums: list[int]
    envelopes: list[str]
    bodies: list[bytes]


def columns(messages: Sequence[Message]) -> Columns:
    """Return the rows of a group."""
    rows = Columns([], [], [], [], [], [])
    for message in messages:
        envelope = message.envelope.to_json()
        rows.ids.append(message.id)
        rows.times.append(message.received_at)
        rows.sizes.append(len(message.body))
        rows.sums.append(checksum(message.id, message.received_at, envelope, message.body))
        rows.envelopes.append(envelope)
        rows.bodies.append(message.body)
    return rows


def checksum(message_id: str, received_at: float, envelope: str, body: bytes) -> int:
    """Return the checksum of a row: nothing in it may change unseen."""
    head = f"{message_id} {float(received_at)!r} {envelope}"
    return zlib.crc32(body, zlib.crc32(head.encode()))


def message_of(row: Sequence[Any]) -> Message:
    """Return the message of a row: id, time, envelope, checksum, body. Raises `DamagedError`."""
    message_id, received_at, envelope, crc, body = row
    with contextlib.suppress(TypeError, ValueError, RecursionError, AttributeError):
        if checksum(message_id, received_at, envelope, body) == crc:
            return Message(message_id, received_at, Envelope.from_json(envelope), body)
    raise DamagedError(f"message {message_id} fails its checksum")


def place_key(message_id: str) -> int:
    """Return the place of an id among others as a number: a higher one is newer."""
    try:
        return int(message_id[:_KEY_DIGITS], 16)
    except ValueError:
        return 0
