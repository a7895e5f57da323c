"""The technology of `maildir:PATH`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.stores.disk.path import absolute, is_path
from prixfixe.stores.technology import Technology

if TYPE_CHECKING:
    from pathlib import Path

    from prixfixe.stores.base import Reader, Store, StoreOptions

__all__ = ["TECHNOLOGY"]


def _store(rest: str, options: StoreOptions) -> Store:
    from prixfixe.stores.maildir.store import MaildirStore

    return MaildirStore(absolute(rest), options)


def _reader(rest: str) -> Reader:
    from prixfixe.stores.maildir.reader import MaildirReader

    return MaildirReader(absolute(rest))


def _copying(rest: str, verb: str) -> str:
    return (
        f"{absolute(rest)} is a folder of whole files: {verb} it with any tool for files "
        "(cp, rsync, tar), or copy messages out with `prixfixe export`"
    )


def _index(rest: str) -> Path:
    return absolute(rest) / ".prixfixe.index"


TECHNOLOGY = Technology(
    "maildir:PATH", is_path, _store, reader=_reader, copying=_copying, index_path=_index
)
