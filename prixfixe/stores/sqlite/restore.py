"""Put a copy of a SQLite store in the place of a stopped server's store.

The copy is checked first. The replaced store and its log are kept, and no existing file is
overwritten.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
from typing import IO, TYPE_CHECKING

from prixfixe.stores.base import StoreOpenError
from prixfixe.stores.disk.atomic_file import partial_file, sync
from prixfixe.stores.disk.folder import FolderLock, explain, make_folder, sync_folder
from prixfixe.stores.sqlite import file as files
from prixfixe.stores.sqlite.reader import open_reading
from prixfixe.stores.sqlite.verify import prove
from prixfixe.stores.sqlite.wal_salvage import rescue

if TYPE_CHECKING:
    from pathlib import Path

    from prixfixe.stores.sqlite.verify import Copied

__all__ = ["DamagedCopyError", "ForeignCopyError", "restore"]


class ForeignCopyError(Exception):
    """What was to be restored is nothing that a backup wrote, as the text says."""


class DamagedCopyError(Exception):
    """What was to be restored is not as it was written; nothing was changed."""

    def __init__(self, copied: Copied) -> None:
        super().__init__(f"{len(copied.faults)} faults")
        self.copied = copied


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
        with partial_file(store.with_name(store.name + ".restored")) as partial:
            with partial.open("wb") as file:
                file.write(head)
                shutil.copyfileobj(stream, file, 1 << 20)
            copied = prove(partial)
            if copied.faults and not damaged:
                raise DamagedCopyError(copied)
            sync(partial)
            old = _set_aside(store, replace=replace)
            _put_in_place(partial, store, old)
            sync_folder(store.parent)
    except OSError as error:
        raise explain(store, error) from error
    finally:
        lock.release()
    return copied, old


def _head(stream: IO[bytes]) -> bytes:
    """Read the first bytes of a copy of ours, before anything is made for it."""
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
