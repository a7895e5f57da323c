"""Check that every page and every message of a copy of a SQLite store is as written."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import DamagedError
from prixfixe.stores.sqlite.file import store_error
from prixfixe.stores.sqlite.reader import message_of, open_reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Copied", "prove"]

_ROWS = (
    "SELECT id, received_at, envelope, crc, iif(length(body) = size, body, NULL), length(body) "
    "FROM message ORDER BY seq"
)


class Copied(NamedTuple):
    """What a copy holds; `faults` says what is not as it was written, in the store too."""

    messages: int
    bytes: int
    faults: tuple[str, ...] = ()


def prove(path: Path) -> Copied:
    """Read every page and every message of a copy."""
    faults: list[str] = []
    messages = size = 0
    with contextlib.closing(open_reading(path)) as reading:
        try:
            faults += (
                row[0] for row in reading.execute("PRAGMA integrity_check") if row[0] != "ok"
            )
            for row in reading.execute(_ROWS):
                messages, size = messages + 1, size + (row[5] if isinstance(row[5], int) else 0)
                with _noting(faults):
                    message_of(row[:5], path)
            totals = reading.execute("SELECT messages, bytes FROM totals").fetchone()
            if totals != (messages, size):
                faults.append(f"totals say {totals}, counted are {(messages, size)}")
        except sqlite3.Error as error:
            faults.append(str(store_error(error)))
    return Copied(messages, size, tuple(faults))


@contextlib.contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        faults.append(str(error))
