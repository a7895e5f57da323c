"""The SQLite file: schema, settings, version check, and texts of its errors.

A file that is not a store, is damaged, or is of a later version is refused and never replaced.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from prixfixe.stores.base import StoreError, StoreOpenError
from prixfixe.stores.disk.folder import require_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "HEAD_OCTETS",
    "RESERVE_BYTES",
    "check_file",
    "check_version",
    "checksum",
    "connect",
    "count_inserts",
    "create",
    "is_ours",
    "keep_reserve",
    "lock_path",
    "log_path",
    "open_only",
    "pragma",
    "reserve_path",
    "store_error",
    "translate",
]

SCHEMA_VERSION = 1
APPLICATION_ID = 0x50724678  # "PrFx": tells our file from other SQLite databases

# https://www.sqlite.org/fileformat2.html section 1.3
HEAD_OCTETS = 100
_MAGIC = b"SQLite format 3\0"
_ID_AT = slice(68, 72)

# 8 KiB pages: 1 KiB mail packs as well as at 16 KiB, 100 KiB mail commits a third faster than at
# 4 KiB, and a lone mail does not write 16 KiB for each of the five pages it touches.
PAGE_BYTES = 8192
# Pages in memory; a larger group spills to the log, where it must go anyway.
CACHE_KIB = 8192
# The log keeps this size between checkpoints instead of growing by each burst for ever.
LOG_LIMIT_BYTES = 32 << 20
# Room for the pages that deleting a few messages writes to the log.
RESERVE_BYTES = 1 << 20
_STEP_BYTES = 64 << 10
# Another program (sqlite3, a backup) may hold the database for a moment.
BUSY_SECONDS = 5.0

# Body last: a look at the other columns does not walk its overflow pages. The index `arrival`
# lists ids in order of arrival without touching the pages that hold bodies. `totals` saves
# counting; `crc` is of everything else that is read, see `checksum`.
_SCHEMA = """
CREATE TABLE message(
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    received_at REAL NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX arrival ON message(seq, id);
CREATE TABLE totals(messages INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES(0, 0);
"""

# Of a connection, not of the file. So mail and its totals are kept by one statement, which is a
# transaction by itself: the interpreter's lock is given up a quarter as often as in one of four.
_COUNTING = """
CREATE TEMP TRIGGER counting AFTER INSERT ON main.message
BEGIN UPDATE totals SET messages = messages + 1, bytes = bytes + NEW.size; END
"""

_FULL = frozenset({sqlite3.SQLITE_FULL})


def lock_path(path: Path) -> Path:
    """Return the lock beside the database, the same one for every name it has by symbolic links."""
    return _beside(path, ".lock")


def log_path(path: Path) -> Path:
    """Return the write-ahead log beside the database: beside the file itself, as SQLite does."""
    return _beside(path, "-wal")


def reserve_path(path: Path) -> Path:
    """Return the file that holds room for deleting mail on a full disk."""
    return _beside(path, ".reserve")


def keep_reserve(path: Path) -> None:
    """Have the reserve, as large as there is room for: SQLite needs some to delete."""
    reserve = reserve_path(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        if os.path.lexists(reserve) and reserve.lstat().st_size >= RESERVE_BYTES:
            return
        descriptor = os.open(reserve, flags, 0o600)
        try:
            _grow(descriptor)
        finally:
            os.close(descriptor)


def _grow(descriptor: int) -> None:
    """Take room in steps; a step that is refused leaves nothing."""
    for end in range(_STEP_BYTES, RESERVE_BYTES + 1, _STEP_BYTES):
        size = os.fstat(descriptor).st_size
        try:
            os.posix_fallocate(descriptor, end - _STEP_BYTES, _STEP_BYTES)
        except OSError:
            os.ftruncate(descriptor, size)
            return


def _beside(path: Path, end: str) -> Path:
    real = Path(os.path.realpath(path))
    return real.with_name(real.name + end)


def create(path: Path) -> None:
    """Make an empty file that only we can read, its name synced; SQLite gives the log its mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        require_file(path)
        # SQLite would report no more than "unable to open"; let the system say why. SQLite has no
        # lock on it yet that this `close` could end.
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return
    sync_folder(path.parent)


def open_only(path: Path, options: str = "mode=ro") -> sqlite3.Connection:
    """Open, to read or as the URI's options say; nothing is checked. Raises `sqlite3.Error`."""
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?{options}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
    )


def connect(path: Path) -> sqlite3.Connection:
    """Open for writing a file that is there, settings applied, schema made or checked.

    Raises:
        StoreOpenError: the file is not a store of ours, or of a later version.
        sqlite3.Error: any other trouble.

    """
    connection = open_only(path, "mode=rw")
    try:
        is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not is_new:  # before any setting is made: some of them write
            check_version(connection, path)
        _set(connection, _SHAPE if is_new else ())
        _set(connection, _SETTINGS)
        if is_new:
            _create_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


# Fixed when the file is made. Incremental vacuum gives the space of deleted mail back to the file
# system, which is where `min_free` looks.
_SHAPE = (f"page_size={PAGE_BYTES}", "auto_vacuum=INCREMENTAL")
# FULL syncs the log at each commit: without it the last commits are lost with the power.
# Checkpoints are the writer's, after the answers went out. No mmap: an I/O error must be an error,
# not a SIGBUS.
_SETTINGS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "wal_autocheckpoint=0",
    f"journal_size_limit={LOG_LIMIT_BYTES}",
    f"cache_size=-{CACHE_KIB}",
    "mmap_size=0",
    "temp_store=MEMORY",
)


def _set(connection: sqlite3.Connection, settings: Sequence[str]) -> None:
    for setting in settings:
        connection.execute(f"PRAGMA {setting}").fetchall()


def count_inserts(connection: sqlite3.Connection) -> None:
    """Have this connection keep the totals whenever it inserts mail.

    Do so after its first checkpoint: one right after this and a change to WAL finds a table locked.
    """
    connection.execute(_COUNTING)


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return the value of a numeric PRAGMA."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _create_schema(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id={APPLICATION_ID}; "
        f"PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
    )


def is_ours(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a database of ours."""
    return head.startswith(_MAGIC) and head[_ID_AT] == APPLICATION_ID.to_bytes(4, "big")


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what we did not write or cannot read. Raises `StoreOpenError`."""
    if pragma(connection, "application_id") != APPLICATION_ID:
        msg = f"store {path} is a SQLite database of another program; name another path"
        raise StoreOpenError(msg)
    version = pragma(connection, "user_version")
    if version > SCHEMA_VERSION:
        msg = (
            f"store {path} has schema version {version}, this program knows {SCHEMA_VERSION}; "
            "run the newer program, or name another path"
        )
        raise StoreOpenError(msg)


def check_file(connection: sqlite3.Connection, path: Path) -> None:
    """Look at both ends of the file; a whole scan would delay the start by its size.

    Damage between the ends is found by the checksum of the message that is read.
    """
    for table in ("totals", "message"):
        connection.execute(f"SELECT * FROM {table} ORDER BY rowid LIMIT 1").fetchall()  # noqa: S608
    connection.execute("SELECT seq, id FROM message ORDER BY rowid DESC LIMIT 1").fetchall()
    expected = pragma(connection, "page_count") * pragma(connection, "page_size")
    if path.stat().st_size < expected and log_path(path).stat().st_size == 0:
        msg = f"file is {path.stat().st_size} bytes, {expected} expected"
        raise sqlite3.DatabaseError(msg)


def checksum(message_id: str, received_at: float, envelope: str, body: bytes) -> int:
    """Return the checksum of a row; the id and the time too, for a flipped bit spares nothing."""
    head = f"{message_id} {float(received_at)!r} {envelope}"
    return zlib.crc32(body, zlib.crc32(head.encode()))


def translate(error: sqlite3.Error, path: Path) -> StoreOpenError:
    """Return what SQLite's complaint means to the operator."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    reasons = {
        sqlite3.SQLITE_NOTADB: "not a mail store (not an SQLite database)",
        sqlite3.SQLITE_CORRUPT: f"damaged ({error})",
        sqlite3.SQLITE_BUSY: "held by another program; end it",
        sqlite3.SQLITE_FULL: "on a full file system; free some space",
        sqlite3.SQLITE_READONLY: "read-only; make file and folder writable by "
        f"{os.geteuid()}:{os.getegid()}",
    }
    reason = reasons.get(code, f"not usable by {os.geteuid()}:{os.getegid()} ({error})")
    remedy = ""
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        remedy = "; move it away, or restore a backup, and start again"
    made = StoreOpenError(f"store {path} is {reason}{remedy}")
    made.__cause__ = error
    return made


def store_error(error: sqlite3.Error) -> StoreError:
    """Return what SQLite's complaint means to the client."""
    code = getattr(error, "sqlite_errorcode", 0)
    kind = "full" if code in _FULL else "io"
    if isinstance(error, sqlite3.IntegrityError):
        kind = "conflict"
    made = StoreError(f"{getattr(error, 'sqlite_errorname', 'SQLite')}: {error}", kind=kind)
    made.__cause__ = error
    return made
