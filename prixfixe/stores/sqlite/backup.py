"""Copy a SQLite store while mail arrives.

A copy has every message that was acknowledged before it began. No existing file is overwritten, and
a copy that would use up the server's reserve of free space is refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from prixfixe.stores.base import StoreError
from prixfixe.stores.disk.atomic_file import partial_file, publish
from prixfixe.stores.sqlite import file as files
from prixfixe.stores.sqlite.reader import open_reading
from prixfixe.stores.sqlite.verify import prove

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prixfixe.stores.sqlite.verify import Copied

__all__ = ["back_up"]

# One step of the copy, between which an interrupt is heard: 16 MiB.
STEP_PAGES = 2048


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
        with partial_file(target) as partial:
            _copy(reading, partial)
            copied = prove(partial)
            (deliver or (lambda path: publish(path, target)))(partial)
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
