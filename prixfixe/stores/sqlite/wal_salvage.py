"""The write-ahead log after a crash: copy it if SQLite would drop finished commits of it.

The copy is synced before SQLite may write to the log. A finished commit with more frames after it
was synced, so its mail was acknowledged: the copy is PATH-wal.damaged.N. A commit at the very end
may be torn (before its 250) or damaged (after it): the copy is PATH-wal.torn.N, and the last three
are kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import struct
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import StoreOpenError
from prixfixe.stores.disk.folder import sync_folder
from prixfixe.stores.sqlite import file as files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Left", "commits_in", "past", "rescue"]

TORN_KEPT = 3
_HEADER = 32
_FRAME = 24


class Left(NamedTuple):
    """What is past the last commit that SQLite accepts: commits, and what they are called."""

    unfinished: int = 0
    damaged: int = 0
    name: str = ""  # of the copy that is wanted: torn, damaged, or none


class Rescued(NamedTuple):
    """What was found in a log, and the copy that was made of it."""

    has_commits: bool
    left: Left = Left()
    saved: str | None = None


def rescue(path: Path) -> Rescued:
    """Look at a store's log; copy it if SQLite would drop what may be acknowledged mail.

    Raises:
        StoreOpenError: another program is folding the log.
        OSError, sqlite3.Error: the copy cannot be made, or the store not be read.

    """
    log = files.log_path(path)
    commits = commits_in(log)
    if not commits:
        return Rescued(has_commits=False)
    with contextlib.ExitStack() as stack:
        whole = _whole_frames(path, stack) if path.stat().st_size else 0
        left = past(commits, whole)
        saved = str(_save(log, left.name)) if left.name else None
    return Rescued(has_commits=True, left=left, saved=saved)


def _whole_frames(path: Path, stack: contextlib.ExitStack) -> int:
    """Return how many frames SQLite accepts; until `stack` ends nobody can drop the others.

    The last writer to close a database removes its log, but not under a reader, and a reader never.
    """
    reader = files.open_only(path)
    stack.callback(reader.close)
    reader.execute("SELECT count(*) FROM sqlite_master").fetchall()
    writer = sqlite3.connect(path, isolation_level=None, timeout=files.BUSY_SECONDS)
    stack.callback(writer.close)
    is_busy, frames, _ = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if is_busy:
        msg = f"store {path} is held by another program; end it"
        raise StoreOpenError(msg)
    return max(int(frames), 0)  # -1: the database knows of no log


def past(commits: Sequence[bool], whole_frames: int) -> Left:
    """Return what lies past the frames that SQLite accepts."""
    rest = commits[whole_frames:]
    finished = sum(rest)
    if not rest:
        return Left()
    if finished == 0:
        return Left(unfinished=1)
    if finished == 1 and rest[-1]:
        return Left(unfinished=1, name="torn")
    return Left(int(not rest[-1]), finished, "damaged")


# --- the copy


def _save(log: Path, name: str) -> Path:
    """Copy the log to the next free number, unless the last copy is the same."""
    older = _copies(log, name)
    if older and _is_same(log, older[-1]):
        return older[-1]  # a start that went no further
    number = int(older[-1].name.rpartition(".")[2]) + 1 if older else 1
    copy = log.with_name(f"{log.name}.{name}.{number}")
    try:
        _copy(log, copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    sync_folder(log.parent)
    if name == "torn":
        for path in older[: 1 - TORN_KEPT]:
            path.unlink(missing_ok=True)
    return copy


def _is_same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while (piece := first.read(1 << 20)) == second.read(1 << 20):
            if not piece:
                return True
    return False


def _copies(log: Path, name: str) -> list[Path]:
    """Return the copies of that name, the oldest first."""
    form = re.compile(rf"{re.escape(log.name)}\.{name}\.(\d{{1,9}})")
    found = ((form.fullmatch(each.name), each) for each in log.parent.iterdir())
    return [each for _, each in sorted((int(match[1]), each) for match, each in found if match)]


def _copy(log: Path, copy: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with log.open("rb") as source, os.fdopen(os.open(copy, flags, 0o600), "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


# --- the log, as SQLite's file format describes it: a header of 32 bytes with the page size at 8,
# two salts at 16, and two words of checksum at 24; then frames, each a header of 24 bytes (at 4
# the size of the database after a commit, else 0; at 8 the salts) and a page. A frame of other
# salts is of an older round, and those of the present one come first.


def commits_in(log: Path) -> list[bool]:
    """Return for each frame of the present round whether it ends a commit, and is there to its end.

    One damaged word of a header hides nothing: one salt of two makes a frame of this round. Before
    the last of them an older one is where a power cut kept a later page, but not that one.
    """
    try:
        size = log.stat().st_size
        with log.open("rb", buffering=0) as file:
            header = file.read(_HEADER)
            heads = list(_heads(file.fileno(), _page(header), size)) if size > _HEADER else []
    except FileNotFoundError:
        return []
    salts = _salts(header, heads)
    present = [head[8:12] == salts[:4] or head[12:16] == salts[4:] for head, _ in heads]
    count = max((at + 1 for at, is_present in enumerate(present) if is_present), default=0)
    return [
        is_present and is_whole and head[4:8] != bytes(4)
        for is_present, (head, is_whole) in zip(present[:count], heads, strict=False)
    ]


def _page(header: bytes) -> int:
    size: int = struct.unpack(">I", header[8:12])[0]
    return size if 512 <= size <= 65536 and not size & (size - 1) else files.PAGE_BYTES


def _heads(descriptor: int, page: int, size: int) -> Iterator[tuple[bytes, bool]]:
    for at in range(_HEADER, size - _FRAME + 1, _FRAME + page):
        yield os.pread(descriptor, _FRAME, at), at + _FRAME + page <= size


def _salts(header: bytes, heads: Sequence[tuple[bytes, bool]]) -> bytes:
    """Return the salts of the present round; a damaged header is not asked."""
    if heads and not _is_sound(header):
        return heads[0][0][8:16]
    return header[16:24]


def _is_sound(header: bytes) -> bool:
    """Whether the checksum fits; its words are in the order the magic number's last bit tells."""
    order = ">" if header[3] & 1 else "<"
    words = struct.unpack(f"{order}6I", header[:24])
    first = second = 0
    for at in range(0, 6, 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second) == header[24:32]
