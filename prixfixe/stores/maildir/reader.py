"""Read a Maildir, from any thread or process, while other programs move or delete mail.

Mail that was moved or renamed is found. Files of other programs are skipped. A damaged file is an
error only for its own message.
"""

from __future__ import annotations

import os
import re
import socket
import time
from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise
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

__all__ = ["Look", "MaildirReader", "id_of", "look", "name_of"]

# A mail program may move a file between the look at the folder and the opening.
_TRIES = 3
# A folder changed twice within a tick of the kernel's clock (10 ms at most) has the same time.
_TICK_NS = 10_000_000
_OURS = re.compile("[0-7][0-9a-f]{27}")


class Look(NamedTuple):
    """Where our files are below the root (`new/NAME`), by id; `is_calm` when no other was there.

    Each place is one string and nothing else, because there may be very many.
    """

    places: list[str]
    is_calm: bool


def look(root: Path) -> Look:
    """Look at the folders. Raises `OSError`."""
    found: list[str] = []
    cur = root / "cur"
    # new/ before cur/: what moves in between is seen twice, never missed.
    _list(root, "new", found)
    for _ in range(_TRIES):
        # A name that changes while the folder is read, as flags do, may be in no answer at all.
        before, began = cur.stat().st_mtime_ns, time.time_ns()
        _list(root, "cur", found)
        is_calm = before == cur.stat().st_mtime_ns < began - _TICK_NS
        if is_calm:
            break
    found.sort(key=id_of)  # what was seen last is the last of equals
    found.append("..")
    return Look([one for one, after in pairwise(found) if id_of(one) != id_of(after)], is_calm)


def _list(root: Path, folder: str, found: list[str]) -> None:
    with os.scandir(root / folder) as files:
        found += [f"{folder}/{file.name}" for file in files if parse_name(file.name) is not None]


def id_of(place: str) -> str:
    """Return the id in a place, which `look` found."""
    return place.split(".", 2)[1]


def name_of(place: str) -> Name:
    """Return what the name of a place tells, which `look` found."""
    name = parse_name(place.rpartition("/")[2])
    if name is None:  # only what parses is listed
        raise DamagedError("not a name of ours")
    return name


def _key(message_id: str, seconds: int) -> int:
    """Return where an id of ours stands: by its time, then by its counter (see `IdSource`)."""
    if _OURS.fullmatch(message_id):
        return int(message_id[:11], 16) << 20 | int(message_id[-5:], 16)
    return seconds * 1000 << 20


def _key_of(place: str) -> int:
    name = name_of(place)
    return _key(name.id, name.seconds)


class MaildirReader:
    """The read side. Opening it raises `StoreOpenError`."""

    is_in_order_of_arrival = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listing: list[str] = []  # lowest first, as `places` last began with
        self._keys = array("q")  # of the listing
        self._places: list[str] = []  # by id, at the last look; replaced as a whole
        self._kept: dict[str, str] = {}  # id -> place, of what was kept since then
        self._gone: frozenset[str] = frozenset()  # seen since the last listing, and no more there
        try:
            look(root)
        except FileNotFoundError:
            msg = f"store {root} is not a Maildir; has a server run with it?"
            raise StoreOpenError(msg) from None
        except OSError as error:
            raise explain(root, error) from error

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        newest = self._listed()[::-1]
        return [id_of(one) for one in newest[start : None if limit is None else start + limit]]

    def get(self, message_id: str) -> Message | None:
        """Return one message or None. Raises `DamagedError`."""
        place = self._known(message_id)
        for _ in range(_TRIES):
            place = place or self._found(message_id)
            if place is None:
                return None
            try:
                return read(f"{self._root}/{place}", name_of(place))
            except FileNotFoundError:
                place = None
            except DamagedError as error:
                where = f"{self._root}/{place}"
                raise DamagedError(f"message {message_id} in {where}: {error}") from error
            except OSError as error:
                raise DamagedError(f"message {message_id}: {error}") from error
        return None

    def totals(self) -> Totals:
        """Return the counts, from the names alone."""
        places = self._listed()
        return Totals(len(places), sum(name_of(one).size for one in places))

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
            self._listing = sorted(self._listed(), key=_key_of)
            self._keys = array("q", map(_key_of, self._listing))
        begin = bisect_right(self._keys, after)
        end = min(begin + limit, len(self._keys))
        is_last = end < begin + limit
        if not is_last:
            end = bisect_right(self._keys, self._keys[end - 1])
        found = [Place(self._keys[at], id_of(self._listing[at])) for at in range(begin, end)]
        if is_last:
            self._listing, self._keys = [], array("q")
        return found

    def expect(self, arrival: Arrival) -> Place:
        """Return where a message stands that this host just kept."""
        self._kept[arrival.id] = f"new/{file_name(arrival, socket.gethostname())}"
        return Place(_key(arrival.id, int(arrival.received_at)), arrival.id)

    def _listed(self) -> list[str]:
        found, self._gone = self._look(), frozenset()
        return found.places

    def _known(self, message_id: str) -> str | None:
        """Return where a message was at the last look, or was kept since."""
        at = bisect_left(self._places, message_id, key=id_of)
        if at < len(self._places) and id_of(self._places[at]) == message_id:
            return self._places[at]
        return self._kept.get(message_id)

    def _found(self, message_id: str) -> str | None:
        """Look where a file is now; all that is gone by then costs no other look."""
        if message_id in self._gone:
            return None
        before = {*map(id_of, self._places), *self._kept, *self._gone}
        if self._look().is_calm:
            self._gone = frozenset(before.difference(map(id_of, self._places)))
        return self._known(message_id)

    def _look(self) -> Look:
        try:
            found = look(self._root)
        except OSError as error:
            raise StoreError(str(error)) from error
        self._places, self._kept = found.places, {}
        return found
