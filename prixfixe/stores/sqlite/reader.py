"""Read a SQLite store, from any thread or process, with or without a running server.

Every read is one short statement, so that no reader blocks the writer's checkpoints for long. A
body is returned only if its checksum is right.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from prixfixe.mail.message import Envelope, Message
from prixfixe.stores.base import (
    NOWHERE,
    DamagedError,
    Place,
    State,
    StoreError,
    StoreOpenError,
    Totals,
)
from prixfixe.stores.disk.folder import explain, is_locked, require_file
from prixfixe.stores.sqlite import file as files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prixfixe.stores.base import Arrival

__all__ = ["SqliteReader", "message_of", "open_reading"]

# A body of another size than its row says is not read: it could be larger than the memory.
_ROW = (
    "SELECT id, received_at, envelope, crc, iif(length(body) = size, body, NULL) "
    "FROM message WHERE id = ?"
)
# By the index, which holds no bodies; the planner would walk the table.
_IDS = "SELECT id FROM message INDEXED BY arrival ORDER BY seq DESC LIMIT ? OFFSET ?"
_PLACES = "SELECT seq, id FROM message INDEXED BY arrival WHERE seq > ? ORDER BY seq LIMIT ?"
_STATE = """
SELECT messages, seq, id FROM totals LEFT JOIN
(SELECT seq, id FROM message INDEXED BY arrival ORDER BY seq DESC LIMIT 1)
"""


class SqliteReader:
    """The read side. Opening it raises `StoreOpenError`."""

    is_in_order_of_arrival = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # the connection is shared by the caller's threads
        self._connection = open_reading(path)

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        rows = self._fetch(_IDS, (-1 if limit is None else limit, start))
        # A flipped bit can make an id a number, bytes or nothing: it is listed, and not found.
        return [str(row[0]) for row in rows]

    def get(self, message_id: str) -> Message | None:
        """Return one message or None. Raises `DamagedError`."""
        if not message_id.isascii():  # none of ours, and SQLite takes no half of a character
            return None
        try:
            rows = self._fetch(_ROW, (message_id,))
        except StoreError as error:
            raise DamagedError(f"message {message_id} in {self._path}: {error}") from error
        return message_of(rows[0], self._path) if rows else None

    def totals(self) -> Totals:
        """Return the counts the writer keeps."""
        return Totals(*self._fetch("SELECT messages, bytes FROM totals", ())[0])

    def state(self) -> State:
        """Return what is there now."""
        messages, key, name = self._fetch(_STATE, ())[0]
        return State(messages, NOWHERE if key is None else Place(key, str(name)))

    def places(self, after: int, limit: int) -> Sequence[Place]:
        """Return the places above a key, lowest first."""
        return [Place(key, str(name)) for key, name in self._fetch(_PLACES, (after, limit))]

    def expect(self, arrival: Arrival) -> Place:
        """Return where a message stands."""
        rows = self._fetch("SELECT seq FROM message WHERE id = ?", (arrival.id,))
        return Place(rows[0][0], arrival.id) if rows else NOWHERE

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _fetch(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise files.store_error(error) from error


# Another connection has the file or the log for itself: `translate` says so.
_HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def message_of(row: Sequence[Any], path: Path) -> Message:
    """Return the message of a row: id, time, envelope, checksum, body. Raises `DamagedError`."""
    message_id, received_at, envelope, crc, body = row
    # A flipped bit can change the type of a value as well as the value.
    with contextlib.suppress(TypeError, ValueError, RecursionError, AttributeError):
        if files.checksum(message_id, received_at, envelope, body) == crc:
            return Message(message_id, received_at, Envelope.from_json(envelope), body)
    raise DamagedError(f"message {message_id} in {path} fails its checksum")


def open_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection.

    Raises:
        StoreOpenError: there is no such store, or it is not readable.

    """
    try:
        require_file(path)
        _require_rights(path)
        return _connect(path)
    except FileNotFoundError:
        msg = f"store {path} does not exist; has a server run with it?"
        raise StoreOpenError(msg) from None
    except OSError as error:
        raise explain(path, error) from error
    except sqlite3.Error as error:
        raise files.translate(error, path) from error


def _require_rights(path: Path) -> None:
    """Ask without opening: `close` ends every lock that this process has on the file (fcntl(2)).

    Those of a server's writer keep the next program that closes the database from removing the log.
    """
    effective = os.access in os.supports_effective_ids
    if not os.access(path, os.R_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return _open(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in _HELD:
            raise
        # A log needs its shared memory, which a read-only folder cannot get. Without a log and
        # without a server the database file is all there is, and cannot change under us.
        log = files.log_path(path)
        has_log = log.exists() and log.stat().st_size > 0
        if has_log:
            msg = (
                f"store {path} has a log ({log.name}) that cannot be opened here; make the folder "
                f"writable by {os.geteuid()}:{os.getegid()}, or copy both files elsewhere"
            )
            raise StoreOpenError(msg) from None
        if is_locked(files.lock_path(path)) or os.access(path.parent, os.W_OK):
            raise
        return _open(path, "mode=ro&immutable=1")


def _open(path: Path, options: str) -> sqlite3.Connection:
    connection = files.open_only(path, options)
    # One damaged id must not keep the others from being listed.
    connection.text_factory = lambda octets: octets.decode("utf-8", "replace")
    try:
        files.check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection
