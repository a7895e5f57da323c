"""The SQLite store: a write-ahead log with `synchronous=FULL`, and one commit for a group.

One server at a time, by lock: two retentions would delete each other's mail. The log is folded into
the database after the replies, never before them.

After an error of the disk, nothing is tried again on the same log: Linux reports a failed fsync
once and may drop the pages. A new connection is opened beside the old one, whose index of the log
keeps the failed frames dead. The good part is folded and synced, and the log is cut to nothing.
Only then are messages accepted again.

`Recovery` counts in `complete` the messages of a store that was not closed, in `discarded_partial`
an unfinished last commit, and in `quarantined` finished commits after a damaged frame (see
`wal_salvage`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

from prixfixe.stores.base import Probe, Recovery, StoreError, StoreOpenError
from prixfixe.stores.disk.folder import FolderLock, explain, make_folder, store_error, write_probe
from prixfixe.stores.disk.free_space import DiskSpace
from prixfixe.stores.disk.identity import displaced
from prixfixe.stores.group_commit import GroupLimits, GroupStore
from prixfixe.stores.sqlite import file as files
from prixfixe.stores.sqlite.place import Place
from prixfixe.stores.sqlite.reader import SqliteReader
from prixfixe.stores.sqlite.wal_salvage import rescue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import StoreOptions
    from prixfixe.stores.sqlite.place import Fault

__all__ = ["SqliteStore"]

T = TypeVar("T")

# 500 of 1 KiB take 6 ms here; 16 MiB take a tenth of a second, a fair wait for the next group.
GROUP = GroupLimits(messages=500, bytes=16 << 20)
# SQLite releases the interpreter's lock at each step, and taking it back from a busy event loop
# is what a commit waits for most: many rows in one statement make one step. Each number of rows is
# a statement that is prepared once and kept; those to 32 take 0.8 MB in all, to 64 nearly 4.
ROWS = 32
# Rows in one statement are all copied at once, so together they stay below this.
STATEMENT_BYTES = 1 << 20
# Above this a body is written into its row in pieces: binding it would copy it twice.
PIECEWISE_BYTES = 1 << 20
PIECE_BYTES = 256 << 10
CHECKPOINT_BYTES = 16 << 20
LONG_LOG_BYTES = 4 * CHECKPOINT_BYTES
RESTART_MILLISECONDS = 200
# What a commit adds to the log beside the bodies: the pages it touches, and each row's overhead.
COMMIT_BYTES = 5 * files.PAGE_BYTES
ROW_BYTES = 512
# One housekeeping step; the writer looks at its queue between two.
PRUNE_ROWS = 1000
VACUUM_PAGES = 1024
_IDS_IN_STATEMENT = 500
_IDS_WITHOUT_ROOM = 8
_SLACK_BYTES = 64 << 10  # what a file system needs to note where a file's blocks are

_COLUMNS = "message(id, received_at, size, crc, envelope, body)"


class SqliteStore(GroupStore):
    """The default store."""

    def __init__(self, path: Path, options: StoreOptions) -> None:
        super().__init__(_Database(path, options), GROUP, options)
        self._path = path

    def open_reader(self) -> SqliteReader:
        """Open a connection that only reads."""
        return SqliteReader(self._path)


class _Database:
    """The writing connection. It lives in the writer thread."""

    def __init__(self, path: Path, options: StoreOptions) -> None:
        self._path = path
        self._options = options
        self._lock = FolderLock(files.lock_path(path))
        self._space = DiskSpace(path.parent, options.disk.min_free, options.disk.on_space)
        self._connection: sqlite3.Connection | None = None
        self._place = Place(path)
        self._is_suspect = False  # the disk failed: reopen before the next write
        self._is_displaced = False  # look where the files are before the next write
        self._has_free_pages = False  # left by a delete: to be given back
        self._is_shrinking = False  # the log too, once they are
        self._logged = 0  # estimate of bytes in the log since the last checkpoint

    def open(self) -> Recovery:
        try:
            make_folder(self._path.parent)
            self._lock.take(self._path)
            files.create(self._path)
            return self._recover()
        except OSError as error:
            raise explain(self._path, error) from error
        except sqlite3.Error as error:
            raise files.translate(error, self._path) from error

    def _recover(self) -> Recovery:
        rescued = rescue(self._path)  # before SQLite may write to the log
        self._connection = connection = files.connect(self._path)
        if _fold(connection, "TRUNCATE")[0]:
            msg = f"store {self._path} is held by a reader that does not end; end it"
            raise StoreOpenError(msg)
        files.check_file(connection, self._path)
        files.count_inserts(connection)
        self._place.note()
        self._confirm()
        files.keep_reserve(self._path)
        self._has_free_pages = files.pragma(connection, "freelist_count") > 0
        if not rescued.has_commits:
            return Recovery()
        kept = connection.execute("SELECT messages FROM totals").fetchone()[0]
        return Recovery(kept, rescued.left.unfinished, rescued.left.damaged, rescued.saved)

    def commit(self, messages: Sequence[Message]) -> None:
        size = COMMIT_BYTES + sum(len(each.body) + ROW_BYTES for each in messages)
        try:
            self._space.check(size)
            pruned = self._guarded(lambda: self._keep(list(_statements(messages))))
            self._confirm()
        except OSError as error:
            raise store_error(error) from error
        self._logged += size
        self._report(pruned)

    def _keep(self, runs: Sequence[Sequence[Message]]) -> int:
        """Keep a group in one transaction, which a single statement is by itself."""
        has_retention = self._options.max_messages or self._options.max_age
        if len(runs) == 1 and len(runs[0][0].body) <= PIECEWISE_BYTES and not has_retention:
            self._mend()
            self._insert(runs[0])
            return 0
        return self._in_transaction(lambda: self._insert_all(runs))

    def _insert_all(self, runs: Sequence[Sequence[Message]]) -> int:
        for run in runs:
            self._insert(run)
        return self._prune(sum(map(len, runs)) + PRUNE_ROWS)

    def _insert(self, rows: Sequence[Message]) -> None:
        if len(rows) == 1 and len(rows[0].body) > PIECEWISE_BYTES:
            self._insert_piecewise(rows[0])
            return
        values: list[Any] = []
        for message in rows:
            envelope = message.envelope.to_json()
            body = message.body
            crc = files.checksum(message.id, message.received_at, envelope, body)
            values += (message.id, message.received_at, len(body), crc, envelope, body)
        marks = ",".join(["(?,?,?,?,?,?)"] * len(rows))
        self._db.execute(f"INSERT INTO {_COLUMNS} VALUES {marks}", values)  # noqa: S608

    def _insert_piecewise(self, message: Message) -> None:
        body, envelope = memoryview(message.body), message.envelope.to_json()
        sql = f"INSERT INTO {_COLUMNS} VALUES (?,?,?,?,?,zeroblob(?))"  # noqa: S608
        size = len(body)
        crc = files.checksum(message.id, message.received_at, envelope, message.body)
        values = (message.id, message.received_at, size, crc, envelope, size)
        row = self._db.execute(sql, values).lastrowid
        with self._db.blobopen("message", "body", row) as blob:  # type: ignore[arg-type]
            for at in range(0, size, PIECE_BYTES):
                blob.write(body[at : at + PIECE_BYTES])

    def delete(self, ids: Sequence[str] | None) -> int:
        self._has_free_pages = True
        unique = None
        if ids is not None:  # as in the reader's `get`
            unique = [each for each in dict.fromkeys(ids) if each.isascii()]
        try:
            count = self._delete(unique)
        except StoreError as error:
            if not error.is_full:
                raise
            count = self._delete_without_room(unique)
        self._confirm()
        return count

    def _delete(self, ids: Sequence[str] | None) -> int:
        if ids is None:
            return self._transact(self._remove_all)
        return self._transact(lambda: sum(map(self._remove_some, _slices(ids))))

    def _delete_without_room(self, ids: Sequence[str] | None) -> int:
        """Delete with what the reserve holds. Half of it is left for deleting all.

        Pages of deleted mail are not written over with zeros, which would take as much again.
        """
        with contextlib.suppress(OSError):
            files.reserve_path(self._path).unlink()
        self._guarded(lambda: self._db.execute("PRAGMA secure_delete=OFF").fetchall())
        try:
            if ids is None:
                self._logged += CHECKPOINT_BYTES  # the room is made by the next step of `settle`
                return self._delete(None)
            return sum(map(self._delete_few, _slices(ids, _IDS_WITHOUT_ROOM)))
        finally:
            self._guarded(lambda: self._db.execute("PRAGMA secure_delete=ON").fetchall())
            if ids is not None:
                files.keep_reserve(self._path)

    def _delete_few(self, ids: Sequence[str]) -> int:
        if self._free() < files.RESERVE_BYTES // 2:
            raise StoreError("the room for deleting a part is used up", kind="full")
        count = self._transact(lambda: self._remove_some(ids))
        self._confirm()
        # A fold that ends for lack of room has used all there was. What is freed waits then.
        self._has_free_pages = self._can_fold()
        if self._has_free_pages:
            self._guarded(lambda: _fold(self._db, "TRUNCATE"))
        return count

    def _can_fold(self) -> bool:
        """Whether there is room for what the database has to grow by when the log is folded."""
        needed = files.pragma(self._db, "page_count") * files.pragma(self._db, "page_size")
        growth = needed - self._path.stat().st_size
        return growth <= max(self._free() - _SLACK_BYTES, 0)

    def _free(self) -> int:
        stat = os.statvfs(self._path.parent)
        return stat.f_bavail * stat.f_frsize

    def _remove_all(self) -> int:
        """Delete every message: without a condition SQLite drops whole pages, unread."""
        kept = self._db.execute("SELECT messages FROM totals").fetchone()[0]
        self._db.execute("DELETE FROM message")
        self._db.execute("UPDATE totals SET messages = 0, bytes = 0")
        return int(kept)

    def _remove_some(self, ids: Sequence[str]) -> int:
        return self._remove(f"id IN ({','.join('?' * len(ids))})", ids)

    def _remove(self, where: str, values: Sequence[Any] = ()) -> int:
        sums = f"SELECT count(*), total(size) FROM message WHERE {where}"  # noqa: S608
        count, size = self._db.execute(sums, values).fetchone()
        self._db.execute(f"DELETE FROM message WHERE {where}", values)  # noqa: S608
        self._count(-count, -int(size))
        return int(count)

    def _count(self, messages: int, size: int) -> None:
        self._db.execute(
            "UPDATE totals SET messages = messages + ?, bytes = bytes + ?", (messages, size)
        )

    def _prune(self, limit: int) -> int:
        """Delete at most `limit` of the oldest; the rest goes with the next commit."""
        options, pruned = self._options, 0
        if options.max_messages:
            kept = self._db.execute("SELECT messages FROM totals").fetchone()[0]
            excess = min(kept - options.max_messages, limit)
            if excess > 0:
                pruned += self._remove_oldest("1", (), excess)
        if options.max_age:
            # From the head only: what arrived later, under a clock that was wrong, waits its turn.
            young = "SELECT seq FROM message WHERE received_at >= ? ORDER BY seq LIMIT 1"
            where = f"seq < coalesce(({young}), 9223372036854775807)"
            cutoff = options.clock() - options.max_age
            pruned += self._remove_oldest(where, (cutoff,), limit)
        return pruned

    def _remove_oldest(self, where: str, values: Sequence[Any], limit: int) -> int:
        oldest = f"SELECT seq FROM message WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608
        return self._remove(f"seq IN ({oldest})", (*values, limit))

    def probe(self) -> Probe:
        try:
            self._confirm()
            self._lock.confirm(self._path)
            free = self._space.check()
            write_probe(self._path.parent)
            self._transact(lambda: self._count(0, 0))  # a write to the log, as a message's
            self._logged += COMMIT_BYTES
            self._confirm(self._place.index_fault())
            files.keep_reserve(self._path)
        except OSError as error:
            raise store_error(error) from error
        return free

    def settle(self) -> bool:
        if self._options.max_age:
            self._report(self._transact(lambda: self._prune(PRUNE_ROWS)))
        if self._has_free_pages or self._logged >= CHECKPOINT_BYTES:
            self._confirm()  # what is folded of a log that was cut spoils the database
        if self._has_free_pages:
            self._guarded(self._shrink)
        if self._logged >= CHECKPOINT_BYTES:
            self._guarded(self._checkpoint)
        return self._has_free_pages

    def _shrink(self) -> None:
        """Give back one step of what a delete freed; retention's pages are soon used again."""
        # As a script: `execute` takes one step of it, which is one page.
        self._db.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES});")
        self._has_free_pages = files.pragma(self._db, "freelist_count") > 0
        # The file gets shorter when the log is folded.
        self._is_shrinking = not self._has_free_pages
        self._logged += CHECKPOINT_BYTES if self._is_shrinking else VACUUM_PAGES * files.PAGE_BYTES

    def _checkpoint(self) -> None:
        """Fold the log; when readers, one after the other, hold it for too long, wait for them.

        After a delete the log is cut as well: where the disk was full, that is the room it makes.
        """
        is_shrinking, self._logged, self._is_shrinking = self._is_shrinking, 0, False
        is_long = files.log_path(self._path).stat().st_size > LONG_LOG_BYTES
        if not is_long and not is_shrinking:
            _fold(self._db, "PASSIVE")
            return
        self._db.execute(f"PRAGMA busy_timeout={RESTART_MILLISECONDS}").fetchall()
        try:
            _fold(self._db, "TRUNCATE" if is_shrinking else "RESTART")
        finally:
            self._db.execute(f"PRAGMA busy_timeout={int(files.BUSY_SECONDS * 1000)}").fetchall()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                self._part(connection)
        except sqlite3.Error as error:
            raise files.store_error(error) from error
        finally:
            self._place.forget()
            self._lock.release()

    def _part(self, connection: sqlite3.Connection) -> None:
        """Close: the last one out folds the log and removes it, by name, whoever's it is.

        Where the names lead to other files by now, or the log was cut, that does harm: the
        connection is left to the kernel then, which only closes.
        """
        try:
            may_close = self._place.may_close()
        except OSError:
            may_close = True
        if may_close:
            connection.close()
        else:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    # --- where the files are

    def _confirm(self, fault: Fault | None = None) -> None:
        """See that what is written is what a new start finds. Raises `StoreError`.

        A look that failed is repeated once: it follows the commit, and a refusal has the client
        send again what is stored.
        """
        try:
            fault = self._look() or fault
        except OSError as error:
            raise store_error(error) from error
        was_displaced, self._is_displaced = self._is_displaced, fault is not None
        if fault is None:
            return
        if fault.is_foldable and not was_displaced:
            self._bring_home()
        raise displaced(fault.path, fault.what)

    def _look(self) -> Fault | None:
        try:
            return self._place.fault()
        except OSError:
            return self._place.fault()

    def _bring_home(self) -> None:
        """Fold the log, so that the database has all that was acknowledged, wherever it is now.

        The log must not stay with its content where another database may get the name.
        """
        with contextlib.suppress(sqlite3.Error, StoreError):
            _fold(self._db, "TRUNCATE")

    # --- transactions, and what becomes of a failed one

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError("the database is not open")
        return self._connection

    def _transact(self, work: Callable[[], T]) -> T:
        return self._guarded(lambda: self._in_transaction(work))

    def _in_transaction(self, work: Callable[[], T]) -> T:
        self._mend()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back already; what is left is for `_guarded` to judge.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        return result

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            made = files.store_error(error)
            self._is_suspect = self._is_suspect or made.kind == "io"
            raise self._why(made) from error

    def _why(self, error: StoreError) -> StoreError:
        """SQLite calls a quota, and a full disk under its log, an I/O error: ask the folder."""
        if error.kind != "io":
            return error
        try:
            write_probe(self._path.parent)
        except OSError as found:
            return store_error(found)
        return error

    def _mend(self) -> None:
        if self._is_suspect or self._is_displaced:
            self._confirm()
        if self._is_suspect:
            self._reopen()

    def _reopen(self) -> None:
        fresh = files.connect(self._path)  # while the old one is open: see above
        try:
            self._confirm()  # the name may lead elsewhere since it was asked before
            _cut(fresh)
            files.count_inserts(fresh)
        except BaseException:
            fresh.close()
            raise
        old, self._connection = self._connection, fresh
        self._is_suspect = False
        if old is not None:
            old.close()
        try:
            self._place.note()
        except OSError as error:
            self._is_suspect = True
            raise store_error(error) from error

    def _report(self, pruned: int) -> None:
        if pruned:
            self._options.on_pruned(pruned)


def _fold(connection: sqlite3.Connection, how: str) -> tuple[int, int, int]:
    """Copy the log into the database and sync it; return busy, frames valid, frames copied."""
    answer: tuple[int, int, int] = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
    return answer


def _cut(connection: sqlite3.Connection) -> None:
    if _fold(connection, "TRUNCATE")[0]:
        raise StoreError("a reader holds the log that must be cut")


def _slices(ids: Sequence[str], count: int = _IDS_IN_STATEMENT) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), count):
        yield ids[at : at + count]


def _statements(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut a group into runs that one statement takes; a large body has one of its own."""
    run: list[Message] = []
    size = 0
    for message in messages:
        size += len(message.body)
        if run and (len(run) == ROWS or size > STATEMENT_BYTES):
            yield run
            run, size = [], len(message.body)
        run.append(message)
    if run:
        yield run
