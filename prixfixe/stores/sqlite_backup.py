"""Copy a SQLite store while mail arrives, and put a copy in a store's place.

Owns: the snapshot, its way to a file that appears whole or not at all, and the proof that every
message in it is as it was written.
Promises: a copy holds every message that was acknowledged before it began, and the first of those
that came meanwhile, without a gap; nothing that exists is overwritten; the server is not stopped,
and its log grows by what it takes in while the copy is made. What is restored is proven first,
what is found damaged changes nothing unless that is asked for, and the store it replaces is kept.
Refuses: a copy that would leave a server without its reserve of free space, a restore under a
running server, and to write to a file it did not make.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import sqlite3
from typing import IO, TYPE_CHECKING, NamedTuple

from prixfixe.stores import sqlite_file as files
from prixfixe.stores.base import DamagedError, StoreError, StoreOpenError
from prixfixe.stores.folder import FolderLock, explain, make_folder, sync_folder
from prixfixe.stores.sqlite_log import rescue
from prixfixe.stores.sqlite_reader import message_of, open_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Copied", "DamagedCopyError", "ForeignCopyError", "back_up", "restore"]

# One step of the copy, between which an interrupt is heard: 16 MiB.
STEP_PAGES = 2048
_ROWS = "SELECT id, received_at, envelope, crc, body FROM message ORDER BY seq"
# File systems that know no second name for a file.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Copied(NamedTuple):
    """What a copy holds; `faults` says what is not as it was written, in the store too."""

    messages: int
    bytes: int
    faults: tuple[str, ...] = ()


class ForeignCopyError(Exception):
    """What was to be restored is nothing that `back_up` wrote, as the text says."""


class DamagedCopyError(Exception):
    """What was to be restored is not as it was written; nothing was changed."""

    def __init__(self, copied: Copied) -> None:
        super().__init__(f"{len(copied.faults)} faults")
        self.copied = copied


def back_up(
    store: Path, target: Path, *, min_free: int, deliver: Callable[[Path], None] | None = None
) -> Copied:
    """Copy the store to a new file; or to one beside `target` that `deliver` gets and that goes.

    Raises:
        StoreOpenError: there is no such store, or it is not readable.
        StoreError: the copy could not be made.
        OSError: the target cannot be written; FileExistsError when it is there.

    """
    reading = open_reading(store)
    try:
        _snapshot(reading)
        _require_room(reading, store, target.parent, min_free)
        with _partial(target) as partial:
            _copy(reading, partial)
            copied = _prove(partial)
            (deliver or (lambda path: _publish(path, target)))(partial)
    except sqlite3.Error as error:
        raise files.store_error(error) from error
    finally:
        reading.close()
    return copied


def _snapshot(reading: sqlite3.Connection) -> None:
    """Fix what is read: whatever is written from now on is not seen."""
    reading.execute("BEGIN")
    reading.execute("SELECT messages FROM totals").fetchone()


def _require_room(reading: sqlite3.Connection, store: Path, folder: Path, min_free: int) -> None:
    needed = files.pragma(reading, "page_count") * files.pragma(reading, "page_size")
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    is_shared = folder.stat().st_dev == store.parent.stat().st_dev
    reserve = min_free if is_shared else 0
    if free < needed + reserve:
        why = f" beside the {reserve} that SMTP_STORE_MIN_FREE keeps for mail" if reserve else ""
        msg = f"{folder} has {free} bytes free; the copy needs {needed}{why}"
        raise StoreError(msg, kind="full")


def _copy(reading: sqlite3.Connection, partial: Path) -> None:
    with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as writing:
        # It is synced once, when it is whole, and thrown away when it is not.
        for setting in ("journal_mode=OFF", "synchronous=OFF"):
            writing.execute(f"PRAGMA {setting}").fetchall()
        reading.backup(writing, pages=STEP_PAGES)
    reading.execute("COMMIT")  # the server's log need not wait any longer
    # One file, readable where nothing can be written beside it.
    with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as writing:
        writing.execute("PRAGMA journal_mode=DELETE").fetchall()


def _prove(path: Path) -> Copied:
    """Read every page and every message of a copy."""
    faults: list[str] = []
    messages = size = 0
    with contextlib.closing(open_reading(path)) as reading:
        try:
            faults += (
                row[0] for row in reading.execute("PRAGMA integrity_check") if row[0] != "ok"
            )
            for row in reading.execute(_ROWS):
                messages, size = messages + 1, size + len(row[4])
                with _noting(faults):
                    message_of(row, path)
            totals = reading.execute("SELECT messages, bytes FROM totals").fetchone()
            if totals != (messages, size):
                faults.append(f"totals say {totals}, counted are {(messages, size)}")
        except sqlite3.Error as error:
            faults.append(str(files.store_error(error)))
    return Copied(messages, size, tuple(faults))


@contextlib.contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        faults.append(str(error))


# --- files that appear whole


@contextlib.contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Yield the name of an empty file beside `target`, locked, and remove it at the end."""
    if target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    path = target.with_name(target.name + ".partial")
    _clear(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _claim(descriptor, path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove what a dead process left; never write to a file that another made.

    In a folder that others may write to, the name could be a link to a file of ours.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} is no file of a backup ({error.strerror}); remove it") from error
    try:
        _claim(descriptor, path)
        path.unlink()
    finally:
        os.close(descriptor)


def _claim(descriptor: int, path: Path) -> None:
    """Lock a file, unless another process writes it or has put its own in its place."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    if not is_ours:
        raise StoreError(f"{path} is being written by another process")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(partial: Path, target: Path) -> None:
    """Give a whole file its name, unless somebody else has it by now."""
    _sync(partial)
    try:
        target.hardlink_to(partial)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        partial.rename(target)
    sync_folder(target.parent)


# --- restore


def restore(
    store: Path, stream: IO[bytes], *, replace: bool, damaged: bool = False
) -> tuple[Copied, Path | None]:
    """Put a copy in the store's place; return what it holds and where the old store is now.

    `damaged` takes a copy with faults too: the best there is.

    Raises:
        ForeignCopyError: what comes is no copy of ours; nothing was touched.
        DamagedCopyError: the copy has faults.
        StoreOpenError: a server runs, the copy is of a later version, or mail is in the way.
        OSError: it cannot be written.

    """
    head = _head(stream)
    lock = FolderLock(files.lock_path(store))
    try:
        make_folder(store.parent)
        lock.take(store)
        with _partial(store.with_name(store.name + ".restored")) as partial:
            with partial.open("wb") as file:
                file.write(head)
                shutil.copyfileobj(stream, file, 1 << 20)
            copied = _prove(partial)
            if copied.faults and not damaged:
                raise DamagedCopyError(copied)
            _sync(partial)
            old = _set_aside(store, replace=replace)
            _put_in_place(partial, store, old)
            sync_folder(store.parent)
    except OSError as error:
        raise explain(store, error) from error
    finally:
        lock.release()
    return copied, old


def _head(stream: IO[bytes]) -> bytes:
    """Read the first octets of a copy of ours, before anything is made for it."""
    head = stream.read(files.HEAD_OCTETS)
    if not head:
        raise ForeignCopyError("is empty")
    if not files.is_ours(head):
        raise ForeignCopyError("is not a copy that backup made")
    return head


def _set_aside(store: Path, *, replace: bool) -> Path | None:
    """Move a store with mail out of the way; its log must never meet the database that comes."""
    if not store.exists():
        _forget_log(store)
        return None
    count = _count(store)
    aside = _free_name(store)
    if count != 0 and not replace:
        holds = "is damaged" if count is None else f"holds {count} messages"
        msg = f"store {store} {holds}; --replace moves it to {aside.name}"
        raise StoreOpenError(msg)
    if count is not None:
        _fold(store)
    if count != 0:
        _link(store, aside)
        _keep_log(store, aside)
    _forget_log(store)
    return aside if count != 0 else None


def _link(store: Path, aside: Path) -> None:
    """Give the store another name; it keeps its own, until the copy takes that at one stroke."""
    try:
        aside.hardlink_to(store)
    except OSError:  # A file system without hard links.
        store.rename(aside)


def _put_in_place(partial: Path, store: Path, old: Path | None) -> None:
    """Give the copy the store's name, or leave the store what it was."""
    try:
        partial.rename(store)
    except BaseException:
        if old is not None:
            _put_back(old, store)
        raise


def _put_back(old: Path, store: Path) -> None:
    """Undo what `_set_aside` did: the store may still have its name."""
    if store.exists():
        old.unlink()
    else:
        old.rename(store)
    _keep_log(old, store)


def _free_name(store: Path) -> Path:
    """Return where a store goes that is replaced: never over one that was before."""
    aside = store.with_name(store.name + ".replaced")
    for number in itertools.count(1):
        if not os.path.lexists(aside):
            break
        aside = store.with_name(f"{store.name}.replaced.{number}")
    return aside


def _count(store: Path) -> int | None:
    """Return how many messages there are, touching nothing; None when that cannot be read."""
    try:
        with contextlib.closing(open_reading(store)) as reading:
            return int(reading.execute("SELECT messages FROM totals").fetchone()[0])
    except (sqlite3.Error, StoreOpenError):
        return None


def _fold(store: Path) -> None:
    """Bring the log home, so that the store is one file: the last one out removes the log."""
    rescue(store)
    files.connect(store).close()


def _keep_log(store: Path, aside: Path) -> None:
    """Take along the log of a damaged database; that of a sound one is folded by now."""
    log = files.log_path(store)
    if log.exists():
        log.rename(files.log_path(aside))


def _forget_log(store: Path) -> None:
    for end in ("-wal", "-shm"):
        store.with_name(store.name + end).unlink(missing_ok=True)
