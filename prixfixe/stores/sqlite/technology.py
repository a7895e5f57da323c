"""The technology of `sqlite:PATH`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.stores.disk.path import absolute, is_path
from prixfixe.stores.technology import Technology

if TYPE_CHECKING:
    from pathlib import Path

    from prixfixe.stores.base import Reader, Store, StoreOptions

__all__ = ["TECHNOLOGY"]

# A row of SQLite ends at 10**9 bytes; the envelope and the rest of the row have the difference.
_MESSAGE_BYTES = 900_000_000


def _store(rest: str, options: StoreOptions) -> Store:
    from prixfixe.stores.sqlite.store import SqliteStore

    return SqliteStore(absolute(rest), options)


def _reader(rest: str) -> Reader:
    from prixfixe.stores.sqlite.reader import SqliteReader

    return SqliteReader(absolute(rest))


def _index(rest: str) -> Path:
    path = absolute(rest)
    return path.with_name(path.name + ".index")


TECHNOLOGY = Technology(
    "sqlite:PATH",
    is_path,
    _store,
    reader=_reader,
    database=absolute,
    max_message_bytes=_MESSAGE_BYTES,
    index_path=_index,
)
