"""The index's SQLite file: where it is, its schema, its settings and its version.

Nothing in it is the only copy of mail, so it is synced only when it is closed. It names the boot of
the machine under which it is written: one that was not closed before another boot may be damaged in
ways that nobody sees, and is built again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from prixfixe.stores.index.packing import TOKENIZER

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IndexFile", "close", "is_damage"]

SCHEMA_VERSION = 4
APPLICATION_ID = 0x50724978  # "PrIx"
PAGE_BYTES = 8192
CACHE_KIB = 4096
# The words of some thousand messages are sorted in memory before they are written.
HASH_BYTES = 2 << 20
BUSY_SECONDS = 10.0
# The log is folded in early and cut, so that it takes little beside the file.
_LOG = ("wal_autocheckpoint=256", f"journal_size_limit={2 << 20}")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CLOSED = "closed"

# `message` is what conditions look at, in one narrow row, so that a walk over all is short;
# `key` is the place in the order of listing. `content` holds what bare words look at, packed.
# `words` holds the words that `word` numbers, and of the others what is three characters long in
# them; `fed` is the last document that is in it. `era` says how many words had a number when a
# document and those after it were fed. `gone` names documents that are in it, and no more in the
# store. `is_ordered` says that the order of documents is that of their keys; `changes` counts what
# was done to messages but adding them.
# `narrow` has the columns that most searches look at: a walk over all of them reads a third of the
# bytes of `message`.
# `large` names documents that have too many words for it: each search looks at their texts.
_QUOTED_TOKENIZER = "'" + TOKENIZER.replace("'", "''") + "'"
_SCHEMA = f"""
CREATE TABLE message(
    doc INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    key INTEGER NOT NULL,
    received_at REAL NOT NULL,
    size INTEGER NOT NULL,
    attachments INTEGER NOT NULL,
    inline INTEGER NOT NULL,
    is_read INTEGER NOT NULL,
    cut INTEGER NOT NULL,
    tags TEXT NOT NULL,
    rcpt TEXT NOT NULL,
    sender TEXT NOT NULL,
    cc TEXT NOT NULL,
    bcc TEXT NOT NULL,
    reply_to TEXT NOT NULL,
    subject TEXT NOT NULL,
    message_id TEXT NOT NULL
);
CREATE INDEX arrival ON message(key, doc);
CREATE INDEX narrow ON message(doc, is_read, rcpt, subject, message_id);
CREATE INDEX seen ON message(doc) WHERE is_read;
CREATE INDEX tagged ON message(tags) WHERE tags <> '';
CREATE TABLE record(doc INTEGER PRIMARY KEY, packed BLOB NOT NULL);
CREATE TABLE content(doc INTEGER PRIMARY KEY, packed BLOB NOT NULL);
CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE era(doc INTEGER PRIMARY KEY, known INTEGER NOT NULL);
CREATE TABLE gone(doc INTEGER PRIMARY KEY);
CREATE TABLE large(doc INTEGER PRIMARY KEY);
CREATE TABLE state(
    version TEXT NOT NULL,
    boot TEXT NOT NULL,
    messages INTEGER NOT NULL,
    next INTEGER NOT NULL,
    fed INTEGER NOT NULL,
    is_ordered INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    cursor_id TEXT NOT NULL
);
INSERT INTO state VALUES('', '', 0, 1, 0, 1, 0, -1, '');
CREATE VIRTUAL TABLE words USING fts5(
    tokens, content='', detail=none, columnsize=0, tokenize={_QUOTED_TOKENIZER}
);
INSERT INTO words(words, rank) VALUES('hashsize', {HASH_BYTES});
"""

_numbers = itertools.count()


class IndexFile:
    """Where the index is: a file, or a place in memory that this process shares."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._name = f"/prixfixe-index-{next(_numbers)}"
        self._held: sqlite3.Connection | None = None  # what is in memory lives as long as this

    @property
    def folder(self) -> Path | None:
        """The folder whose file system must have room; None for memory."""
        return None if self.path is None else self.path.parent

    def writing(self, version: str) -> sqlite3.Connection:
        """Open for writing, the schema made.

        Raises:
            sqlite3.DatabaseError: it is damaged, or of another version: remove it.

        """
        if self.path is None:
            self._held = self._held or self._connect("rwc")
        else:
            _make(self.path)
        connection = self._connect("rwc")
        try:
            _prepare(connection, version, is_file=self.path is not None)
        except BaseException:
            connection.close()
            raise
        return connection

    def reading(self) -> sqlite3.Connection:
        """Open for reading. Raises `sqlite3.Error`."""
        connection = self._connect("ro")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        return connection

    def remove(self) -> None:
        """Forget everything. Raises `OSError`."""
        if self.path is None:
            if self._held is not None:
                self._held.close()
            self._held, self._name = None, f"/prixfixe-index-{next(_numbers)}"
            return
        for end in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)

    def bytes(self) -> int:
        """Return what it takes on disk."""
        if self.path is None:
            return 0
        total = 0
        for end in ("", "-wal"):
            with contextlib.suppress(OSError):
                total += self.path.with_name(self.path.name + end).stat().st_size
        return total

    def close(self) -> None:
        """Let go of what is in memory."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _connect(self, mode: str) -> sqlite3.Connection:
        name = (
            f"file:{self._name}?vfs=memdb&mode={mode}"
            if self.path is None
            else f"file:{quote(bytes(self.path))}?mode={mode}"
        )
        return sqlite3.connect(
            name, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )


def _make(path: Path) -> None:
    """Make the file if there is none: SQLite gives its log the same mode; it is mail.

    A file that is there is not opened: closing it would drop the locks that SQLite holds on it
    for this process's readers.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare(connection: sqlite3.Connection, version: str, *, is_file: bool) -> None:
    """Make the schema, or see that it is ours."""
    version = f"{SCHEMA_VERSION} {unicodedata.unidata_version} {version}"
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not is_new:
        _check(connection, version)
    _set(connection, (f"page_size={PAGE_BYTES}", "auto_vacuum=INCREMENTAL") if is_new else ())
    # Readers go on while it is written; a crash may cost it, never mail.
    _set(connection, ("journal_mode=WAL", "synchronous=OFF") if is_file else ("synchronous=OFF",))
    _set(connection, (f"cache_size=-{CACHE_KIB}", "temp_store=MEMORY", *_LOG))
    if is_new:
        connection.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id={APPLICATION_ID}; COMMIT;"
        )
    connection.execute("UPDATE state SET version = ?, boot = ?", (version, _boot()))


def _check(connection: sqlite3.Connection, version: str) -> None:
    written, boot = connection.execute("SELECT version, boot FROM state").fetchone() or ("", "")
    if written != version:
        raise sqlite3.DatabaseError("it is of another version")
    for table in ("message", "record", "content", "gone", "word", "era"):
        connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608 - our names
    connection.execute("SELECT rowid FROM words WHERE words MATCH 'abc' LIMIT 1").fetchall()
    if boot not in {_CLOSED, _boot()}:
        raise sqlite3.DatabaseError("the machine stopped while it was written")


def _boot() -> str:
    """Return what tells this boot of the machine from any other."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return f"unknown {time.time()}"


def close(connection: sqlite3.Connection) -> None:
    """Put the index on disk, and note that it is whole."""
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("UPDATE state SET boot = ?", (_CLOSED,))
    finally:
        connection.close()


def _set(connection: sqlite3.Connection, settings: Sequence[str]) -> None:
    for setting in settings:
        connection.execute(f"PRAGMA {setting}").fetchall()


def is_damage(error: Exception, *, is_reading: bool = False) -> bool:
    """Whether what SQLite complains of is the file itself, so that it must be built again.

    For who writes that is a missing table too; who reads may come before there is one.
    """
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    is_missing = code == sqlite3.SQLITE_ERROR and not is_reading
    return is_missing or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
