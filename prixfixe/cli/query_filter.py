"""Match the messages of a store with a query: by the index if it is complete, else one by one.

Read state and tags exist in the index only, so they come from there in both cases.
"""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prixfixe.cli.environment import Failure, settings
from prixfixe.mail.query import QueryError, parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.mail.message import Message
    from prixfixe.mail.query import Query, Searchable
    from prixfixe.stores.base import Reader
    from prixfixe.stores.index import IndexReader

__all__ = ["matching"]


@contextmanager
def matching(text: str | None, reader: Reader) -> Iterator[Callable[[Message], bool]]:
    """Yield a function that tells whether a message matches; fail with 2 for an invalid query."""
    if text is None:
        yield lambda _message: True
        return
    try:
        query = parse_query(text)
    except QueryError as error:
        raise Failure(2, error) from None
    with contextlib.ExitStack() as stack:
        index = _index()
        if index is not None:
            stack.enter_context(contextlib.closing(index))
        known = None if index is None else _found(query, reader, index)
        if known is None:
            yield lambda message: query.matches(_searchable(message, index))
        else:
            yield lambda message: message.id in known


def _index() -> IndexReader | None:
    """Return the index beside the store, or None if it does not exist or cannot be read."""
    from prixfixe.stores.index import IndexReader
    from prixfixe.stores.index.file import IndexFile
    from prixfixe.stores.registry import index_path

    path = index_path(settings().store)
    if path is not None and path.exists():
        with contextlib.suppress(sqlite3.Error):
            return IndexReader(IndexFile(path))
    return None


def _found(query: Query, reader: Reader, index: IndexReader) -> set[str] | None:
    """Return the ids of all matching messages, or None if the index may be incomplete."""
    if not getattr(reader, "is_in_order_of_arrival", False):
        return None
    with contextlib.suppress(sqlite3.Error):
        found = set(index.matching(query))
        return found if index.is_of(reader.state()) else None  # type: ignore[attr-defined]
    return None


def _searchable(message: Message, index: IndexReader | None) -> Searchable:
    from prixfixe.http.api.mailpit import described

    seen = described(message).text
    with contextlib.suppress(sqlite3.Error):
        entry = index.entries([message.id]).get(message.id) if index is not None else None
        if entry is not None:
            return seen._replace(is_read=entry.is_read, tags=entry.tags)
    return seen
