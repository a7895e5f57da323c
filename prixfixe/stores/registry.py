"""From a store URL to its technology, and to a store or a reader of it.

Built-in technologies are listed here and imported when they are named. Entry points of the group
`prixfixe.stores` are read only for a scheme that is not built in, and for an error message.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.technology import Technology

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from prixfixe.stores.base import Reader, Store, StoreOpenError, StoreOptions

__all__ = [
    "BUILT_IN",
    "GROUP",
    "Named",
    "database_path",
    "forms",
    "index_path",
    "is_lasting",
    "migrate",
    "named",
    "open_reader",
    "open_store",
    "shown",
]

GROUP = "prixfixe.stores"
# What a scheme names: a module, and the technology in it.
BUILT_IN = {
    "sqlite": ("prixfixe.stores.sqlite.technology", "TECHNOLOGY"),
    "maildir": ("prixfixe.stores.maildir.technology", "TECHNOLOGY"),
    "postgresql": ("prixfixe.stores.postgresql.technology", "TECHNOLOGY"),
    "memory": ("prixfixe.stores.in_process", "MEMORY"),
    "discard": ("prixfixe.stores.in_process", "DISCARD"),
}


class Named(NamedTuple):
    """A URL, taken apart: its scheme, the scheme's technology, and what the technology reads."""

    scheme: str
    technology: Technology
    rest: str


def named(url: str) -> Named:
    """Return what a URL names.

    Raises:
        ValueError: it names no store; the text says what was expected instead.

    """
    scheme, colon, rest = url.partition(":")
    technology = _technology(scheme) if colon else None
    if technology is None or not technology.accepts(rest):
        raise ValueError(forms())
    return Named(scheme, technology, rest)


def is_lasting(url: str) -> bool:
    """Whether the store that a URL names outlives its server."""
    technology = named(url).technology
    return technology.reader is not None or technology.is_shared


def _technology(scheme: str) -> Technology | None:
    if scheme in BUILT_IN:
        return _built_in(scheme)
    found = [entry for entry in _installed() if entry.name == scheme]
    if len(found) > 1:
        offers = " and ".join(entry.value for entry in found)
        msg = f"a scheme that one package offers; {scheme}: is of {offers}"
        raise ValueError(msg)
    return _loaded(found[0]) if found else None


def _built_in(scheme: str) -> Technology:
    module, name = BUILT_IN[scheme]
    technology: Technology = getattr(import_module(module), name)
    return technology


def _installed() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import and to ask

    return sorted(set(entry_points(group=GROUP)), key=lambda entry: (entry.name, entry.value))


def _loaded(entry: EntryPoint) -> Technology:
    try:
        technology = entry.load()
    except Exception as error:  # somebody else's code may raise anything
        msg = f"a store that can be loaded; {entry.value}: {type(error).__name__}: {error}"
        raise ValueError(msg) from error
    if not isinstance(technology, Technology):
        msg = f"a store that is a prixfixe.stores.technology.Technology; {entry.value} is not"
        raise ValueError(msg)  # noqa: TRY004 - it is the setting that is wrong
    return technology


def forms() -> str:
    """Return the URLs that work: `sqlite:PATH, …, memory: or discard:`."""
    forms = [_built_in(scheme).form for scheme in BUILT_IN]
    forms += [_form(entry) for entry in _installed() if entry.name not in BUILT_IN]
    return f"{', '.join(forms[:-1])} or {forms[-1]}"


def _form(entry: EntryPoint) -> str:
    try:
        return _loaded(entry).form
    except ValueError:
        return f"{entry.name}: (which cannot be loaded)"


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """Return the store a URL names, not yet opened: await its `open`.

    Raises:
        StoreOpenError: the URL names no store.

    """
    from prixfixe.stores.base import StoreOptions

    _, technology, rest = _named(url)
    return technology.store(rest, options or StoreOptions())


def open_reader(url: str) -> Reader:
    """Return a reader of what a URL names, for a program that is not its server.

    Raises:
        StoreOpenError: there is no such store, it is not readable, or only its server can read it.

    """
    _, technology, rest = _named(url)
    if technology.reader is None:
        raise _open_error(f"store {shown(url)!r} lives in the server's memory: read it over HTTP")
    return technology.reader(rest)


def database_path(url: str, verb: str) -> Path:
    """Return the SQLite database a URL names, to be copied or put in place as one file.

    Raises:
        StoreOpenError: it is not one file; the text says how such a store is handled.

    """
    _, technology, rest = _named(url)
    if technology.database is None:
        raise _open_error(f"store {shown(url)!r}: {technology.copying(rest, verb)}")
    return technology.database(rest)


def index_path(url: str) -> Path | None:
    """Return where the index of a store is kept; None for one in memory, or for none at all.

    Raises:
        StoreOpenError: the URL names no store.

    """
    _, technology, rest = _named(url)
    return None if technology.index_path is None else technology.index_path(rest)


def migrate(url: str) -> str:
    """Make what a URL names, or bring it up to date; return what was done.

    Raises:
        StoreOpenError: it cannot be done.

    """
    scheme, technology, rest = _named(url)
    if technology.migrate is None:
        return f"a {scheme}: store is brought up to date by the server: nothing to do"
    return technology.migrate(rest)


def shown(url: str) -> str:
    """Return a URL as people may see it: without a password, also where it is not well-formed."""
    hidden = re.sub(r"(://[^:/?#]*):.*@", r"\1:***@", url)
    return re.sub(r"((?:^|[?&;])(?:ssl)?password=)[^&]*", r"\1***", hidden, flags=re.IGNORECASE)


def _named(url: str) -> Named:
    try:
        return named(url)
    except ValueError as error:
        raise _open_error(f"store {shown(url)!r}: expected {error}") from error


def _open_error(text: str) -> StoreOpenError:
    from prixfixe.stores.base import StoreOpenError  # settings are checked without it

    return StoreOpenError(text)
