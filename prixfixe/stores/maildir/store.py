"""The Maildir store, for mail that other programs read (cr.yp.to/proto/maildir.html).

A group is written under `tmp/`, each file is synced, all are renamed into `new/`, and `new/` is
synced once; then the messages are acknowledged. If a call fails, every file of the group is
removed, and the next group uses new files: a failed fsync is never tried again. One server a
folder, by lock.
`discarded_partial` counts the files in `tmp/` that a crash left; they were never acknowledged.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import Recovery, StoreError
from prixfixe.stores.disk.folder import (
    FolderLock,
    explain,
    make_folder,
    store_error,
    sync_folder,
    write_probe,
)
from prixfixe.stores.disk.free_space import DiskSpace
from prixfixe.stores.disk.identity import displaced, identify, named
from prixfixe.stores.group_commit import GroupLimits, GroupStore
from prixfixe.stores.maildir.file import encode, make_name, parse_name
from prixfixe.stores.maildir.reader import MaildirReader, id_of, look, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Probe, StoreOptions
    from prixfixe.stores.disk.identity import Identity

__all__ = ["MaildirStore"]

# Each message holds a descriptor until its group is synced; sessions need theirs too.
GROUP = GroupLimits(messages=64, bytes=16 << 20)
# What a file takes beside the body: its headers, and the rest of a block.
FILE_BYTES = 4096
# Others may delete mail, so what is kept is counted anew before retention acts, but a long
# listing is not read for each group.
RESCAN_SECONDS = 1.0


class MaildirStore(GroupStore):
    """One file per message."""

    def __init__(self, root: Path, options: StoreOptions) -> None:
        super().__init__(_Maildir(root, options), GROUP, options)
        self._root = root

    def open_reader(self) -> MaildirReader:
        """Open a reader of the folders."""
        return MaildirReader(self._root)


class _File(NamedTuple):
    """A file on its way from `tmp/` to `new/`."""

    descriptor: int
    name: str


class _Maildir:
    """The writing side. It lives in the writer thread."""

    def __init__(self, root: Path, options: StoreOptions) -> None:
        self._root = root
        self._tmp, self._new = root / "tmp", root / "new"
        self._options = options
        self._host = socket.gethostname()
        self._lock = FolderLock(root / ".prixfixe.lock")
        self._space = DiskSpace(root, options.disk.min_free, options.disk.on_space)
        self._has_limit = bool(options.max_messages or options.max_age)
        self._place: Identity | None = None  # of `new/`, as mail was last written there
        self._kept: deque[str] = deque()  # places, oldest first; empty without a limit
        self._scanned_at = float("-inf")

    def open(self) -> Recovery:
        try:
            for folder in (self._tmp, self._new, self._root / "cur"):
                make_folder(folder)
            self._lock.take(self._root)
            write_probe(self._tmp)
            self._settle_in()
            swept = self._sweep()
            self._rescan()
        except OSError as error:
            raise explain(self._root, error) from error
        return Recovery(discarded_partial=swept)

    def _sweep(self) -> int:
        """Remove our files from `tmp/`: we hold the lock, so whoever wrote them is dead."""
        stale = [path for path in self._tmp.iterdir() if parse_name(path.name)]
        for path in stale:
            path.unlink()
        return len(stale)

    def commit(self, messages: Sequence[Message]) -> None:
        files: list[_File] = []
        try:
            self._settle_in()
            self._space.check(sum(len(each.body) + FILE_BYTES for each in messages))
            self._write_all(messages, files)
            for file in files:
                (self._tmp / file.name).rename(self._new / file.name)
            sync_folder(self._new)
            self._confirm()
        except OSError as error:
            self._take_back(files)
            raise store_error(error) from error
        except BaseException:
            self._take_back(files)
            raise
        if self._has_limit:
            self._kept.extend(f"new/{file.name}" for file in files)
            self._prune()

    def _settle_in(self) -> None:
        """Take `new/` for what it is now, if it is another than before.

        Every file is made and moved by name, so any folder will do that a new start finds too: its
        name has to be on the disk, which we did not see to.
        """
        if self._place is not None:
            return
        place = self._look()
        self._lock.confirm(self._root)
        for folder in (self._root, self._root.parent):
            sync_folder(folder)
        self._place = place

    def _look(self) -> Identity:
        """Return which folder `new/` is. Raises `StoreError` when there is none."""
        found = named(self._new)
        if found is None:
            raise displaced(self._new, "was removed or moved")
        return identify(found)

    def _confirm(self) -> None:
        """See that a new start finds what was put into `new/`: one that was there all the time."""
        before, self._place = self._place, None
        found = self._look()
        if found != before:
            raise displaced(self._new, "was replaced")
        self._place = found

    def _write_all(self, messages: Sequence[Message], files: list[_File]) -> None:
        """Write all, then sync all: the first sync carries most of the others' data with it."""
        opened: list[int] = []
        try:
            for message in messages:
                files.append(self._create(message))
                opened.append(files[-1].descriptor)
                _write(files[-1].descriptor, encode(message))
            for descriptor in opened:
                os.fsync(descriptor)
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _create(self, message: Message) -> _File:
        name = make_name(message, self._host)
        if (self._new / name).exists():
            raise _taken(message)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return _File(os.open(self._tmp / name, flags, 0o600), name)
        except FileExistsError:
            raise _taken(message) from None

    def _take_back(self, files: Sequence[_File]) -> None:
        """Remove a failed group; what cannot be removed now is counted as an operation failed."""
        began, left = time.perf_counter(), 0
        for file in files:
            for path in (self._tmp / file.name, self._new / file.name):
                try:
                    path.unlink(missing_ok=True)
                except OSError:
                    left += 1
        with suppress(OSError):
            sync_folder(self._new)
        self._options.on_operation("undo", time.perf_counter() - began, "io" if left else "ok")

    def delete(self, ids: Sequence[str] | None) -> int:
        wanted = None if ids is None else set(ids)
        try:
            places = look(self._root).places
            doomed = [one for one in places if wanted is None or id_of(one) in wanted]
            count = self._remove_all(doomed)
            for folder in (self._new, self._root / "cur"):
                sync_folder(folder)
            self._rescan()
        except OSError as error:
            raise store_error(error) from error
        return count

    def _remove_all(self, doomed: Sequence[str]) -> int:
        """Remove what can be removed, then raise the first error: one does not keep the others."""
        count, failed = 0, None
        for place in doomed:
            try:
                count += self._remove(place)
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return count

    def _remove(self, place: str) -> bool:
        path = self._root / place
        try:
            path.unlink()
        except FileNotFoundError:  # moved or deleted by a mail program; the next scan will tell
            return False
        except (IsADirectoryError, PermissionError):
            if path.is_dir():  # no message, whatever its name says
                return False
            raise
        return True

    def probe(self) -> Probe:
        try:
            self._settle_in()
            self._confirm()
            for folder in (self._tmp, self._root / "cur"):
                if named(folder) is None:
                    raise displaced(folder, "was removed or moved")
            self._lock.confirm(self._root)
            free = self._space.check()
            write_probe(self._tmp)
        except OSError as error:
            raise store_error(error) from error
        return free

    def settle(self) -> bool:
        if self._options.max_age:
            self._prune()
        return False

    def close(self) -> None:
        self._lock.release()

    def _prune(self) -> None:
        """Delete the oldest beyond the limits; a failure shows at the next look."""
        pruned = 0
        with suppress(OSError):
            if self._is_over() and time.monotonic() - self._scanned_at >= RESCAN_SECONDS:
                self._rescan()
            while self._is_over():
                pruned += self._remove(self._kept.popleft())
        if pruned:
            self._options.on_pruned(pruned)

    def _rescan(self) -> None:
        if self._has_limit:
            self._kept = deque(look(self._root).places)
            self._scanned_at = time.monotonic()

    def _is_over(self) -> bool:
        options, kept = self._options, self._kept
        if options.max_messages and len(kept) > options.max_messages:
            return True
        if not options.max_age or not kept:
            return False
        return name_of(kept[0]).seconds < int(options.clock() - options.max_age)


def _taken(message: Message) -> StoreError:
    return StoreError(f"id {message.id} is taken", kind="conflict")


def _write(descriptor: int, parts: Sequence[bytes]) -> None:
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
