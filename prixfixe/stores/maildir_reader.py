"""Read the mail in a Maildir, in any thread or process, whoever else moves or deletes it.

Owns: finding our files. Promises: mail moved from `new/` to `cur/` is found, deleted mail is gone,
what another program delivered there is passed over; a damaged file is an error of its own only.
Order is that of the ids, which sort by the time they were made.
Refuses: to keep an index; the folders are the truth.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import DamagedError, StoreError, StoreOpenError, Totals
from prixfixe.stores.folder import explain
from prixfixe.stores.maildir_file import Name, decode, parse_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prixfixe.message import Message

__all__ = ["Entry", "MaildirReader", "scan"]

# A mail program may move a file between the look at the folder and the opening.
_TRIES = 3


class Entry(NamedTuple):
    """A file of ours and where it is now."""

    name: Name
    path: Path


def scan(root: Path) -> list[Entry]:
    """Return our files, oldest first. Raises `OSError`."""
    found: dict[str, Entry] = {}
    # new/ before cur/: what moves in between is seen twice, never missed.
    for folder in (root / "new", root / "cur"):
        for file in os.listdir(folder):  # noqa: PTH208  # a Path for each costs 4 times as much
            name = parse_name(file)
            if name is not None:
                found[name.id] = Entry(name, folder / file)
    return [found[each] for each in sorted(found)]


class MaildirReader:
    """The read side. Opening it raises `StoreOpenError`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            scan(root)
        except FileNotFoundError:
            msg = f"store {root} is not a Maildir; has a server run with it?"
            raise StoreOpenError(msg) from None
        except OSError as error:
            raise explain(root, error) from error

    def ids(self, start: int = 0, limit: int | None = None) -> Sequence[str]:
        """Return ids, newest first."""
        newest = [entry.name.id for entry in reversed(self._scan())]
        return newest[start : None if limit is None else start + limit]

    def get(self, message_id: str) -> Message | None:
        """Return one message or None. Raises `DamagedError`."""
        for _ in range(_TRIES):
            paths = [entry.path for entry in self._scan() if entry.name.id == message_id]
            if not paths:
                return None
            try:
                return decode(paths[0].read_bytes())
            except FileNotFoundError:
                continue
            except DamagedError as error:
                raise DamagedError(f"message {message_id} in {paths[0]}: {error}") from error
            except OSError as error:
                raise DamagedError(f"message {message_id}: {error}") from error
        return None

    def totals(self) -> Totals:
        """Return the counts, from the names alone."""
        sizes = [entry.name.size for entry in self._scan()]
        return Totals(len(sizes), sum(sizes))

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _scan(self) -> list[Entry]:
        try:
            return scan(self._root)
        except OSError as error:
            raise StoreError(str(error)) from error
