"""Turn a store URL into a store or a reader; each technology is imported when it is named.

Owns: the list of technologies. Promises: an unknown or incomplete URL raises `StoreOpenError`
with the forms that work. Refuses: to touch the disk before `Store.open`; `open_reader` opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import StoreOpenError, StoreOptions

if TYPE_CHECKING:
    from prixfixe.stores.base import Reader, Store

__all__ = ["StoreOptions", "database_path", "open_reader", "open_store"]

_ON_DISK = ("sqlite", "maildir")
_IN_PROCESS = ("memory", "discard")


class _Url(NamedTuple):
    technology: str
    path: str


def _parse(url: str) -> _Url:
    technology, _, path = url.partition(":")
    if technology in _ON_DISK and path:
        return _Url(technology, str(Path(path).absolute()))  # an error names a whole path
    if technology in _IN_PROCESS and not path:
        return _Url(technology, "")
    msg = f"store {url!r}: expected sqlite:PATH, maildir:PATH, memory: or discard:"
    raise StoreOpenError(msg)


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """Return the store a URL names, not yet opened: await its `open`.

    Raises:
        StoreOpenError: the URL names no store.

    """
    technology, path = _parse(url)
    options = options or StoreOptions()
    if technology == "sqlite":
        from prixfixe.stores.sqlite.store import SqliteStore

        return SqliteStore(Path(path), options)
    if technology == "maildir":
        from prixfixe.stores.maildir.store import MaildirStore

        return MaildirStore(Path(path), options)
    if technology == "memory":
        from prixfixe.stores.memory import MemoryStore

        return MemoryStore(options)
    from prixfixe.stores.discard import DiscardStore

    return DiscardStore(options)


def open_reader(url: str, store: Store | None = None) -> Reader:
    """Return a reader of what a URL names; `memory:` and `discard:` need the store itself.

    Raises:
        StoreOpenError: there is no such store, it is not readable, or it lives in no file.

    """
    technology, path = _parse(url)
    if technology == "sqlite":
        from prixfixe.stores.sqlite.reader import SqliteReader

        return SqliteReader(Path(path))
    if technology == "maildir":
        from prixfixe.stores.maildir.reader import MaildirReader

        return MaildirReader(Path(path))
    return _own_reader(url, store)


def database_path(url: str, verb: str) -> Path:
    """Return the database a URL names, to be copied or put in place as one file.

    Raises:
        StoreOpenError: it is not one file; the text says how such a store is handled.

    """
    technology, path = _parse(url)
    if technology == "sqlite":
        return Path(path)
    ways = {
        "maildir": f"{path} is a folder of whole files: {verb} it with any tool for files "
        "(cp, rsync, tar), or copy messages out with `prixfixe export`",
    }
    raise StoreOpenError(f"store {url!r}: {ways.get(technology, 'it lives in no file')}")


def _own_reader(url: str, store: Store | None) -> Reader:
    reader = getattr(store, "reader", None)
    if reader is None:
        msg = f"store {url!r} lives in the server's memory: read it over HTTP"
        raise StoreOpenError(msg)
    opened: Reader = reader()
    return opened
