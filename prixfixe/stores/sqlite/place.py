"""Check whether a restart would find the database and the log that this process writes.

After a commit, its frames are known to be in the log of that name without a gap. No file is opened
whose `close` would release a lock of SQLite.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.disk.identity import Identity, identify, named
from prixfixe.stores.sqlite import file as files

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Fault", "Place"]

# https://www.sqlite.org/walformat.html: the index begins with two copies of a header of 48 bytes,
# numbers in the machine's order: page size at 14, last frame at 16, pages of the database at 20,
# salts at 32. Then come how many frames were folded, at 96, and how many it was tried with, at 128.
_INDEX = struct.Struct("=14xHII8x8s88xI")
_COPY = 48
_LOG_HEAD, _FRAME_HEAD = 32, 24
_LOOKS = 100  # at an index that another process is changing


class Fault(NamedTuple):
    """What is not where it was. `is_foldable` when the log may be folded into the database."""

    path: str
    what: str
    is_foldable: bool = False


class _Index(NamedTuple):
    """What SQLite's index of the log says: the log, and how far it was folded."""

    page: int
    frames: int
    pages: int
    salts: bytes
    tried: int


class Place:
    """The files of one store: where they were opened, and which they are."""

    def __init__(self, path: Path) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100  # a Path costs more at each look
        self._has_links = os.path.realpath(path) != self._path
        self._at = _beside(self._path)
        # Our own descriptor of the log, where SQLite holds no lock; of the index SQLite's.
        self._log = self._index = self._database = -1
        self._ids: tuple[Identity, ...] = ()  # of database, log and index
        self._proven = (b"", 0)  # salts and frames of the log that were found whole
        self._is_doubted = True
        self._size = 0
        self._mark = (b"", 0)
        self._stamp = (0, 0)
        self._head = b""
        self._folded = (b"", 0)

    def note(self) -> None:
        """Look at what SQLite has just opened. Raises `OSError`."""
        self.forget()
        names = self._names()
        self._ids = tuple(identify(os.lstat(each)) for each in names)
        self._log = _open_log(names[1])
        self._index = _descriptor(self._ids[2])
        self._database = -1
        self._proven, self._is_doubted = (b"", 0), True
        self._size, self._stamp = 0, (0, 0)
        self._head = b""

    def forget(self) -> None:
        """Let go."""
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _names(self) -> tuple[str, str, str]:
        return _beside(os.path.realpath(self._path)) if self._has_links else self._at

    def fault(self) -> Fault | None:
        """Return what a new start would not find as it is here. Raises `OSError`."""
        database, log, _ = self._names()
        index = self._read_index()
        if not self._is_whole(index):
            return Fault(log, "was cut or written over")
        found = named(database, follow=False)
        if found is None or identify(found) != self._ids[0]:
            return Fault(database, _fate(found), self._may_lose(log))
        if not self._has_size(found, index):
            return Fault(database, "was cut")
        if not self._is_ours(found, index):
            return Fault(database, "was written over")
        there = named(log, follow=False)
        if there is None or identify(there) != self._ids[1]:
            return Fault(log, _fate(there), self._may_lose(log))
        return None

    def index_fault(self) -> Fault | None:
        """Return whether other processes share another index of the log: a look for seldom."""
        index = self._names()[2]
        found = named(index, follow=False)
        is_ours = found is not None and identify(found) == self._ids[2]
        return None if is_ours else Fault(index, _fate(found))

    def may_close(self) -> bool:
        """Whether SQLite may fold and remove the files of these names, as it does at the end."""
        fault = self.fault()
        if fault is not None and not fault.is_foldable:
            return False
        there = [named(each, follow=False) for each in self._names()[1:]]
        pairs = zip(there, self._ids[1:], strict=True)
        return all(found is None or identify(found) == known for found, known in pairs)

    def _may_lose(self, log: str) -> bool:
        """Whether folding leaves nothing that a new start would take for this database's log."""
        there = named(log, follow=False)
        return there is None or identify(there) == self._ids[1] or there.st_size == 0

    # --- the log

    def _read_index(self) -> _Index | None:
        """Return what the index says; None where nobody can be asked."""
        for _ in range(_LOOKS):
            head = os.pread(self._index, _INDEX.size, 0) if self._index >= 0 else b""
            if len(head) < _INDEX.size:
                return None
            if head[:_COPY] == head[_COPY : 2 * _COPY]:
                break
        page, frames, pages, salts, tried = _INDEX.unpack_from(head)
        return _Index(65536 if page == 1 else page or files.PAGE_BYTES, frames, pages, salts, tried)

    def _is_whole(self, index: _Index | None) -> bool:
        """Whether the log has the frames that the index says, as far as a cut would show.

        A file that is cut and then written behind its end has a gap of zeros. It shows in the last
        frame before a commit, in the commit's first or in its last. After a fault all are read.
        """
        if index is None or index.frames == 0:
            return True
        salts, proven = self._proven
        if salts == index.salts and 0 < proven <= index.frames:
            is_whole = self._goes_on(index, proven)
        else:
            wanted = range(index.frames) if self._is_doubted else {0, index.frames - 1}
            is_whole = self._has_head(index) and all(self._has(index, at) for at in wanted)
        self._is_doubted = not is_whole
        self._proven = (index.salts, index.frames) if is_whole else (b"", 0)
        return is_whole

    def _goes_on(self, index: _Index, proven: int) -> bool:
        """Look at the frames next to the seam, in one read, and at the last one."""
        last, step = index.frames - 1, _FRAME_HEAD + index.page
        if proven > last:
            return self._has(index, last)
        seam = os.pread(self._log, step + _FRAME_HEAD, _LOG_HEAD + (proven - 1) * step)
        is_joined = seam[8:16] == index.salts == seam[step + 8 : step + 16]
        return is_joined and (last == proven or self._has(index, last))

    def _has_head(self, index: _Index) -> bool:
        return os.pread(self._log, _LOG_HEAD, 0)[16:24] == index.salts

    def _has(self, index: _Index, frame: int) -> bool:
        place = _LOG_HEAD + frame * (_FRAME_HEAD + index.page)
        return os.pread(self._log, _FRAME_HEAD, place)[8:16] == index.salts

    # --- the database

    def _has_size(self, found: os.stat_result, index: _Index | None) -> bool:
        """Whether the file is at least as long as it was.

        Only folding the log makes it shorter, after a vacuum, and that shows in the index. What the
        log holds alone is not expected of it.
        """
        size = found.st_size
        if index is None:
            return size > 0
        mark = (index.salts, index.tried)
        if mark != self._mark:
            self._mark, self._size = mark, 0
        if index.frames:
            pages = index.pages * index.page
            is_long, self._size = size >= min(self._size, pages), min(max(size, self._size), pages)
        else:
            is_long, self._size = size >= self._size, max(size, self._size)
        return is_long and size > 0

    def _is_ours(self, found: os.stat_result, index: _Index | None) -> bool:
        """Whether nobody but a checkpoint wrote to the database: that one shows in the index."""
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp == self._stamp or index is None:
            return True
        head = self._read_head()
        folded = (index.salts, index.tried)
        if self._head and head != self._head and folded == self._folded:
            return False
        self._stamp, self._head, self._folded = stamp, head, folded
        return True

    def _read_head(self) -> bytes:
        """Read the head by SQLite's descriptor, which is another one when it opened anew."""
        if self._database < 0 or identify(os.fstat(self._database)) != self._ids[0]:
            self._database = _descriptor(self._ids[0])
        descriptor = self._database
        return os.pread(descriptor, files.HEAD_OCTETS, 0) if descriptor >= 0 else b""


def _beside(base: str) -> tuple[str, str, str]:
    return base, base + "-wal", base + "-shm"


def _open_log(path: str) -> int:
    """Open the log for reading.

    Each read after a write would note its time on disk otherwise. Only the owner may leave it out.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(path, flags)


def _fate(found: os.stat_result | None) -> str:
    return "was removed or moved" if found is None else "was replaced"


def _descriptor(wanted: Identity) -> int:
    """Return a descriptor of this process for a file, as Linux lists them; -1 if there is none."""
    try:
        numbers = sorted(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
    except OSError:
        return -1
    for number in numbers:
        try:
            if identify(os.fstat(number)) == wanted:
                return number
        except OSError:  # The one that listed them is closed by now.
            continue
    return -1
