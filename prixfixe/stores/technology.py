"""What the registry has to know of a kind of store before it is opened.

A package that brings a store offers a `Technology` under an entry point of the group
`prixfixe.stores`; the entry point's name is the scheme of its URLs.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from prixfixe.stores.base import Reader, Store, StoreOptions

__all__ = ["Technology"]


_NONE: Mapping[str, str] = MappingProxyType({})


def _in_no_file(_rest: str, _verb: str) -> str:
    return "it lives in no file"


class Technology(NamedTuple):
    """One kind of store; `rest` is what follows the scheme and its colon in a URL.

    Settings are checked with it, also by commands that open no store: what is slow to import is
    imported inside the functions.

    Attributes:
        form: what a URL looks like, for error messages, such as `sqlite:PATH`.
        accepts: whether a URL with this rest is well-formed; it opens nothing.
        store: returns a store that is not opened yet.
        reader: opens a reader without the server, or raises `StoreOpenError`; None when only the
            server itself can read.
        database: the SQLite file of a store that is one file of ours, for backup and restore.
        copying: says how to copy or restore (the verb) a store without such a file.
        is_shared: several servers may use one store at the same time.
        max_message_bytes: the largest message it can store; None is any.
        unused: settings without effect on it, each with the reason a user is told.
        index_path: returns where a search index of it is kept; its result is None for an index in
            memory. None when there is no index: searches then read the mail itself. The store's
            readers have to be `Followed` ones.
        migrate: makes the store or brings it up to date, and says what it did, or raises
            `StoreOpenError`; None when a server does so at its start.

    """

    form: str
    accepts: Callable[[str], bool]
    store: Callable[[str, StoreOptions], Store]
    reader: Callable[[str], Reader] | None = None
    database: Callable[[str], Path] | None = None
    copying: Callable[[str, str], str] = _in_no_file
    is_shared: bool = False
    max_message_bytes: int | None = None
    unused: Mapping[str, str] = _NONE
    index_path: Callable[[str], Path | None] | None = None
    migrate: Callable[[str], str] | None = None
