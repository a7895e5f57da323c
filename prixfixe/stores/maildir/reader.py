"""Read a Maildir, from any thread or process, while other programs move or delete mail.

Mail that was moved or renamed is found. Files of other programs are skipped. A damaged file is an
error only for its own message.
"""

from __future__ import annotations

import os
import re
import socket
import time
from bisect import bisect_right
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import (
    NOWHERE,
    DamagedError,
    Place,
    State,
    StoreError,
    StoreOpenError,
    Totals,
)
from prixfixe.stores.disk.folder import explain
from prixfixe.stores.maildir.file import Name, file_name, parse_name, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Arrival

__all__ = ["Entry", "Look", "MaildirReader", "look", "scan"]

# A mail program may move a file between the look at the folder and the opening.
_TRIES = 3
# A folder changed twice within a tick of the kernel's clock (10 ms at most) has the same time.
_TICK_NS = 10_000_000
_OURS = re.compile("[0-7][0-9a-f]{27}")
_KEY = itemgetter(0)


class Entry(NamedTuple):
    """A file of ours and where it is now."""

    name: Name
    path: Path


class Look(NamedTuple):
    """Our files, oldest first; `is_calm` when no other can have been there."""

    entries: list[Entry]
    is_calm: bool


def look(root: Path) -> Look:
    """Look at the folders. Raises `OSError`."""
    found: dict[str, Entry] = {}
    cur = root / "cur"
    # new/ before cur/: what moves in between is seen twice, never missed.
    _list(root / "new", found)
    for _ in range(_TRIES):
        # A name that changes while the folder is read, as flags do, may be in no answer at all.
        before, began = cur.stat().st_mtime_ns, time.time_ns()
        _list(cur, found)
        is_calm = before == cur.stat().st_mtime_ns < began - _TICK_NS
        if is_calm:
            break
    return Look([found[each] for each in sorted(found)], is_calm)


def _list(folder: Path, found: dict[str, Entry]) -> None:
    for file in os.listdir(folder):  # noqa: PTH208  # a Path for each costs 4 times as much
        name = parse_name(file)
        if name is not None:
            found[name.id] = Entry(name, folder / file)


def scan(root: Path) -> list[Entry]:
    """Return our files, oldest first. Raises `OSError`."""
    return look(root).entries


def _place(message_id: str, seconds: int) -> Place:
    """Return where an id of ours stands: by its time, then by its counter (see `IdSource`)."""
    if _OURS.fullmatch(message_id):
        return Place(int(message_id[:11], 16) << 20 | int(message_id[-5:], 16), message_id)
    return Place(seconds * 1000 << 20, message_id)


class MaildirReader:
    """The read side. Opening it raises `StoreOpenError`."""

    is_in_order_of_arrival = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listing: list[Place] = []  # lowest first, as `places` last began with
        self._places: dict[str, str] = {}  # id -> path, at the last look; replaced as a whole
        self._gone: frozenset[str] = frozenset()  # seen since the last listing, and no more there
        try:
            scan(root)
        except FileNotFoundError:
            msg = f"store {root} is not a Maildir; has a server run with it?"
            raise StoreOpenError(msg) from None
        except OSError as error:
            raise explain(root, error) from error

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        newest = [entry.name.id for entry in reversed(self._listed())]
        return newest[start : None if limit is None else start + limit]

    def get(self, message_id: str) -> Message | None:
        """Return one message or None. Raises `DamagedError`."""
        place = self._places.get(message_id)
        for _ in range(_TRIES):
            place = place or self._found(message_id)
            if place is None:
                return None
            try:
                return read(place, _named(place))
            except FileNotFoundError:
                place = None
            except DamagedError as error:
                raise DamagedError(f"message {message_id} in {place}: {error}") from error
            except OSError as error:
                raise DamagedError(f"message {message_id}: {error}") from error
        return None

    def totals(self) -> Totals:
        """Return the counts, from the names alone."""
        sizes = [entry.name.size for entry in self._listed()]
        return Totals(len(sizes), sum(sizes))

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def state(self) -> State:
        """Return what is there now: the times of both folders, while nobody was there lately."""
        try:
            times = [(self._root / name).stat().st_mtime_ns for name in ("new", "cur")]
        except OSError as error:
            raise StoreError(str(error)) from error
        is_calm = max(times) < time.time_ns() - _TICK_NS
        return State(0, NOWHERE, tuple(times) if is_calm else object())

    def places(self, after: int, limit: int) -> Sequence[Place]:
        """Return the places above a key, lowest first; the folders are read for the first ones."""
        if after < 0:
            entries = self._listed()
            self._listing = sorted(_place(each.name.id, each.name.seconds) for each in entries)
        begin = bisect_right(self._listing, after, key=_KEY)
        found = self._listing[begin : begin + limit]
        if len(found) < limit:
            self._listing = []  # The last of them.
            return found
        end = bisect_right(self._listing, found[-1].key, key=_KEY)
        return self._listing[begin:end]

    def expect(self, arrival: Arrival) -> Place:
        """Return where a message stands that this host just kept."""
        name = file_name(arrival, socket.gethostname())
        self._places[arrival.id] = str(self._root / "new" / name)
        return _place(arrival.id, int(arrival.received_at))

    def _listed(self) -> list[Entry]:
        found, self._gone = self._look(), frozenset()
        return found.entries

    def _found(self, message_id: str) -> str | None:
        """Look where a file is now; all that is gone by then costs no other look."""
        if message_id in self._gone:
            return None
        before = self._places.keys() | self._gone
        if self._look().is_calm:
            self._gone = frozenset(before - self._places.keys())
        return self._places.get(message_id)

    def _look(self) -> Look:
        try:
            found = look(self._root)
        except OSError as error:
            raise StoreError(str(error)) from error
        self._places = {entry.name.id: str(entry.path) for entry in found.entries}
        return found


def _named(place: str) -> Name:
    name = parse_name(os.path.basename(place))  # noqa: PTH119  # the place is a text of ours
    if name is None:  # only what parses is listed
        raise DamagedError("not a name of ours")
    return name
