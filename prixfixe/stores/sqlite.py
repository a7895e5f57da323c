"""Keep messages in one SQLite file: the default store.

Owns: the schema, the transaction of a batch, retention, and the reader.
Promises: body, envelope and trace are one row written in one transaction, fsynced before the
future resolves (WAL with `synchronous=FULL`: sqlite.org/wal.html section 2.2); after any error the
connection is dropped and a new one recovers from the file, so a failed fsync is never retried
into success (Rebello et al., USENIX ATC 2020); a flipped bit is found by the checksum of its row.
Refuses: a second writing process (by lock, since totals and retention have one owner), a newer
schema, and files that are not databases; nothing that exists is ever replaced.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prixfixe.message import Envelope, Message
from prixfixe.stores.base import (
    CorruptMessageError,
    Recovery,
    StoreError,
    StoreOpenError,
    Totals,
)
from prixfixe.stores.disk import FreeSpace, Lock, fsync_folder, make_folder, open_error
from prixfixe.stores.writer import GroupWriter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from prixfixe.stores import StoreOptions
    from prixfixe.stores.base import Probe

__all__ = ["SqliteReader", "SqliteStore"]

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    received_at REAL NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE totals (messages INTEGER NOT NULL, octets INTEGER NOT NULL) STRICT;
INSERT INTO totals VALUES (0, 0);
"""
_INSERT = "INSERT INTO message (id, received_at, size, crc, envelope, body) VALUES (?,?,?,?,?,?)"
_PRAGMAS = (
    "PRAGMA busy_timeout=5000",
    "PRAGMA page_size=8192",  # fewer pages for a 100 KiB body; no slower for 1 KiB
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # fsync the log at every commit: the promise
    "PRAGMA wal_autocheckpoint=2000",  # 16 MB: folds the log rarely, bounds its size
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA cache_size=-4096",  # KiB; rows are written once and seldom read
)
PRUNE_STEP = 500  # rows looked at by age in one go, so that a put never waits for long


class SqliteStore:
    """The write side of a store in one SQLite file."""

    def __init__(self, path: str, options: StoreOptions) -> None:
        self._path = Path(path)
        self._options = options
        self._lock = Lock(self._path.with_name(self._path.name + ".lock"))
        self._space = FreeSpace(self._path.parent, options.min_free, options.clock)
        self._db: sqlite3.Connection | None = None
        self._totals = Totals(0, 0)
        self._writer: GroupWriter | None = None

    def reader(self) -> SqliteReader:
        """Return the read side."""
        return SqliteReader(str(self._path))

    async def open(self) -> Recovery:
        """Lock the file, let SQLite recover it, and count what that brought back."""
        make_folder(self._path.parent)
        self._lock.acquire()
        self._writer = GroupWriter(self._commit, self._options.on_operation)
        try:
            return await self._writer.run(self._open_first)
        except StoreError as error:
            self._lock.release()
            msg = f"store {self._path}: {error}"
            raise StoreOpenError(msg) from error
        except StoreOpenError:
            self._lock.release()
            raise

    def put(self, message: Message) -> asyncio.Future[None]:
        """Queue one message for the next transaction."""
        return self._running().put(message)

    async def delete(self, ids: Sequence[str] | None) -> int:
        """Delete these messages, or all of them for None; return how many were there."""
        return await self._running().run(lambda: self._delete(ids))

    async def probe(self) -> Probe:
        """Prove that a transaction would be durable now, and apply retention by age."""
        return await self._running().run(self._probe)

    async def close(self) -> None:
        """Finish what was put, fold the log into the file, and let go of it."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with contextlib.suppress(StoreError):
                await writer.run(lambda: None)
            await writer.close()
        self._drop()
        self._lock.release()

    def _running(self) -> GroupWriter:
        if self._writer is None:
            raise StoreError("the store is closed", kind="closed")
        return self._writer

    # --- in the writer's thread

    def _open_first(self) -> Recovery:
        before = _last_seq_without_log(self._path)
        is_new = not self._path.exists()
        db = self._connection()
        if is_new:
            fsync_folder(self._path.parent)
        after = db.execute("SELECT coalesce(max(seq), 0) FROM message").fetchone()[0]
        recovered = 0 if before is None or is_new else max(after - before, 0)
        return Recovery(complete=recovered)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._db = self._connect()
            except sqlite3.Error as error:
                raise _store_error(error) from error
        return self._db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                db.execute(pragma)
            self._migrate(db)
            self._totals = Totals(*db.execute("SELECT messages, octets FROM totals").fetchone())
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            msg = (
                f"store {self._path}: written by a newer PrixFixe (schema {version}, this one"
                f" knows {SCHEMA_VERSION}); run that version, or restore a backup"
            )
            raise StoreOpenError(msg)
        if version == 0:
            db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")

    def _drop(self) -> None:
        """Close the connection, come what may; the next one recovers from the file."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _commit(self, messages: Sequence[Message]) -> Sequence[StoreError | None]:
        self._space.check()
        try:
            self._insert(messages)
        except sqlite3.IntegrityError:
            return [self._commit_alone(message) for message in messages]
        return [None] * len(messages)

    def _commit_alone(self, message: Message) -> StoreError | None:
        try:
            self._insert([message])
        except sqlite3.IntegrityError:
            return StoreError("this id is taken", kind="conflict")
        except StoreError as error:
            return error
        return None

    def _insert(self, messages: Sequence[Message]) -> None:
        totals = Totals(
            self._totals.messages + len(messages),
            self._totals.bytes + sum(len(message.body) for message in messages),
        )
        with _Transaction(self) as db:
            db.executemany(_INSERT, map(_row, messages))
            totals, pruned = self._prune(db, totals)
            db.execute("UPDATE totals SET messages=?, octets=?", totals)
        self._totals = totals
        if pruned:
            self._options.on_pruned(pruned)

    def _prune(self, db: sqlite3.Connection, totals: Totals) -> tuple[Totals, int]:
        """Delete the oldest beyond the limits, inside the caller's transaction."""
        doomed = self._over_limits(db, totals)
        if not doomed:
            return totals, 0
        db.executemany("DELETE FROM message WHERE seq=?", ((seq,) for seq, _ in doomed))
        octets = sum(size for _, size in doomed)
        return Totals(totals.messages - len(doomed), totals.bytes - octets), len(doomed)

    def _over_limits(self, db: sqlite3.Connection, totals: Totals) -> list[tuple[int, int]]:
        options = self._options
        excess = totals.messages - options.max_messages if options.max_messages else 0
        if excess <= 0 and not options.max_age:
            return []
        oldest_kept = options.clock() - options.max_age if options.max_age else 0.0
        rows = db.execute(
            "SELECT seq, size, received_at FROM message ORDER BY seq LIMIT ?",
            (max(excess, PRUNE_STEP if options.max_age else 0),),
        ).fetchall()
        return [
            (seq, size)
            for number, (seq, size, received_at) in enumerate(rows)
            if number < excess or received_at < oldest_kept
        ]

    def _delete(self, ids: Sequence[str] | None) -> int:
        with _Transaction(self) as db:
            if ids is None:
                deleted = db.execute("DELETE FROM message").rowcount
                totals = Totals(0, 0)
            else:
                gone = [row for one in ids for row in db.execute(_DELETE, (one,)).fetchall()]
                deleted = len(gone)
                freed = sum(size for (size,) in gone)
                totals = Totals(self._totals.messages - deleted, self._totals.bytes - freed)
            db.execute("UPDATE totals SET messages=?, octets=?", totals)
        self._totals = totals
        return deleted

    def _probe(self) -> Probe:
        found = self._space.look()
        with _Transaction(self) as db:  # A real write: `user_version` is in the header page.
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            totals, pruned = self._prune(db, self._totals)
            db.execute("UPDATE totals SET messages=?, octets=?", totals)
        self._totals = totals
        if pruned:
            self._options.on_pruned(pruned)
        return found


_DELETE = "DELETE FROM message WHERE id=? RETURNING size"


class _Transaction:
    """BEGIN to COMMIT; any failure but a taken id drops the connection."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __enter__(self) -> sqlite3.Connection:
        self._db = self._store._connection()  # noqa: SLF001
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._store._drop()  # noqa: SLF001
            raise _store_error(error) from error
        return self._db

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error as failed:
                self._store._drop()  # noqa: SLF001
                raise _store_error(failed) from failed
            return
        if isinstance(error, sqlite3.IntegrityError):
            self._db.execute("ROLLBACK")
            return
        self._store._drop()  # noqa: SLF001
        if isinstance(error, sqlite3.Error):
            raise _store_error(error) from error


def _row(message: Message) -> tuple[str, float, int, int, str, bytes]:
    body = message.body
    return (
        message.id,
        message.received_at,
        len(body),
        zlib.crc32(body),
        message.envelope.to_json(),
        body,
    )


def _store_error(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return StoreError(str(error), kind="full" if code == sqlite3.SQLITE_FULL else "io")


def _last_seq_without_log(path: Path) -> int | None:
    """Return the last row of the file as it is without its log, or None when there is no log."""
    log = path.with_name(path.name + "-wal")
    try:
        if log.stat().st_size == 0:
            return None
        uri = f"{path.absolute().as_uri()}?immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            return int(db.execute("SELECT coalesce(max(seq), 0) FROM message").fetchone()[0])
    except (OSError, sqlite3.Error):
        return None


class SqliteReader:
    """The read side; one connection, used by one thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._mutex = threading.Lock()
        if not self._path.exists():
            msg = f"store {path}: no such file; has a server with this SMTP_STORE run yet?"
            raise StoreOpenError(msg)
        self._db = self._connect()

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        try:
            db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
            db.execute("PRAGMA busy_timeout=5000")
            db.execute("SELECT messages FROM totals").fetchone()
        except sqlite3.Error as error:
            return self._connect_immutable(error)
        return db

    def _connect_immutable(self, error: sqlite3.Error) -> sqlite3.Connection:
        """Read a file whose folder cannot be written: safe only when its log is folded in."""
        log = self._path.with_name(self._path.name + "-wal")
        try:
            if log.exists() and log.stat().st_size:
                msg = f"store {self._path}: {error}; its log can only be read where the folder is writable"
                raise StoreOpenError(msg)
            uri = f"{self._path.absolute().as_uri()}?immutable=1"
            db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
            db.execute("SELECT messages FROM totals").fetchone()
        except sqlite3.Error as failed:
            msg = f"store {self._path}: {failed}; is it a PrixFixe database?"
            raise StoreOpenError(msg) from failed
        except OSError as failed:
            raise open_error(self._path, failed) from failed
        return db

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        try:
            with self._mutex:
                return self._db.execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise _store_error(error) from error

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        count = -1 if limit is None else limit
        rows = self._rows(
            "SELECT id FROM message ORDER BY seq DESC LIMIT ? OFFSET ?", (count, start)
        )
        return [row[0] for row in rows]

    def get(self, message_id: str) -> Message | None:
        """Return the message, or None when there is none of that id.

        Raises:
            CorruptMessageError: the row is not what was written.

        """
        rows = self._rows(
            "SELECT received_at, crc, envelope, body FROM message WHERE id=?", (message_id,)
        )
        if not rows:
            return None
        received_at, crc, envelope, body = rows[0]
        if zlib.crc32(body) != crc:
            raise CorruptMessageError(message_id)
        try:
            return Message(message_id, received_at, Envelope.from_json(envelope), body)
        except ValueError as error:
            raise CorruptMessageError(message_id) from error

    def totals(self) -> Totals:
        """Return the counts of what is kept now."""
        return Totals(*self._rows("SELECT messages, octets FROM totals")[0])

    def close(self) -> None:
        """Release the file."""
        with self._mutex:
            self._db.close()
