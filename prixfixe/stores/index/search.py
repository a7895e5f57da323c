"""Reading the index: pages of the list, and searches, on a connection of its own.

A search is given up when it is told to. What it holds of its hits is two numbers each.
"""

from __future__ import annotations

import heapq
import itertools
import sqlite3
import threading
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.stores.index.catalog import read_tags
from prixfixe.stores.index.counts import CountCache, Counts
from prixfixe.stores.index.packing import unpack_record
from prixfixe.stores.index.plan import plan
from prixfixe.stores.index.vocabulary import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prixfixe.mail.query import Query
    from prixfixe.stores.base import State
    from prixfixe.stores.index.file import IndexFile
    from prixfixe.stores.index.plan import Plan

__all__ = ["Counts", "Found", "IndexReader", "SearchGivenUpError"]

# Above this share of all documents a walk over the narrow rows is shorter than the grams' way.
_COMMON = 12
_LEAST = 2000
_IN_STATEMENT = 500
_RECORDS = 32  # that are unpacked at once
MAX_PAGE_OCTETS = 4 * 1024 * 1024  # of records in one answer: a thousand usual ones are 0.5 MiB
# A list names so many tags at most, of so many sets of tags that messages have.
_MAX_TAGS, _MAX_TAG_SETS = 1000, 2000


class SearchGivenUpError(Exception):
    """Whoever asked is gone."""


class Found(NamedTuple):
    """An entry of a list; `record` is JSON without read state and tags."""

    id: str
    record: bytes
    is_read: bool
    tags: tuple[str, ...]

    @property
    def octets(self) -> int:
        """About how many bytes it takes in an answer."""
        return len(self.record) + 6 * sum(map(len, self.tags))


class Hits(NamedTuple):
    """What matches, in no order."""

    docs: array[int]
    keys: array[int]
    unread: int


class IndexReader:
    """One connection; each call is a look at one state of the index. Raises `sqlite3.Error`."""

    def __init__(self, file: IndexFile) -> None:
        self._db = file.reading()
        self._is_given_up = threading.Event()
        self._known = Known()
        self._walked = CountCache()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def begin(self) -> None:
        """Forget that something was given up."""
        self._is_given_up.clear()

    def give_up(self) -> None:
        """End the search that is under way, from another thread."""
        self._is_given_up.set()
        self._db.interrupt()

    def is_of(self, state: State) -> bool:
        """Whether the index holds just what a store in the order of arrival does."""
        sql = "SELECT messages, cursor, cursor_id FROM state"
        messages, key, name = self._db.execute(sql).fetchone()
        return (messages, (key, name)) == (state.messages, state.last)

    # --- lists

    def counts(self) -> Counts:
        """Return how many messages there are."""
        kept = self._one("SELECT messages FROM state")
        return Counts(kept, kept - self._one("SELECT count(*) FROM message WHERE is_read"))

    def tags(self) -> dict[str, int]:
        """Return each tag and how many messages have it, by name."""
        sql = "SELECT tags, count(*) FROM message WHERE tags <> '' GROUP BY tags LIMIT ?"
        rows = self._db.execute(sql, (_MAX_TAG_SETS,))
        found: dict[str, int] = {}
        for written, count in rows.fetchall():
            for tag in read_tags(written):
                found[tag] = found.get(tag, 0) + count
        return dict(sorted(found.items())[:_MAX_TAGS])

    def page(
        self,
        start: int,
        limit: int,
        before: float | None = None,
        octets: int = MAX_PAGE_OCTETS,
    ) -> list[Found]:
        """Return entries, newest first, as many as `octets` hold; `before` is in seconds."""
        if before is None:
            return self._page(self._listed(start, limit), octets)
        rows = self._db.execute(
            "SELECT doc FROM message WHERE received_at < ? ORDER BY key DESC, doc DESC "
            "LIMIT ? OFFSET ?",
            (before, limit, start),
        ).fetchall()
        return self._page([row[0] for row in rows], octets)

    def _listed(self, start: int, limit: int) -> list[int]:
        """Return the documents of a page of the list, newest first."""
        sql = (
            "SELECT messages, is_ordered, (SELECT min(doc) FROM message),"
            " (SELECT max(doc) FROM message) FROM state"
        )
        messages, is_ordered, first, last = self._db.execute(sql).fetchone()
        if not messages:
            return []
        if is_ordered and last - first + 1 == messages:  # none was deleted but the oldest
            return list(range(last - start, max(first - 1, last - start - limit), -1))
        if start > messages // 2:
            return self._from_the_oldest(start, limit)
        rows = self._db.execute(
            "SELECT doc FROM message ORDER BY key DESC, doc DESC LIMIT ? OFFSET ?", (limit, start)
        ).fetchall()
        return [row[0] for row in rows]

    def _from_the_oldest(self, start: int, limit: int) -> list[int]:
        """Return the documents of a page, newest first, counted from the nearer end of the list."""
        rest = "(SELECT messages FROM state) - ?"
        rows = self._db.execute(
            "SELECT doc FROM message ORDER BY key, doc "  # noqa: S608
            f"LIMIT max(0, min(?, {rest})) OFFSET max(0, {rest} - ?)",
            (limit, start, start, limit),
        ).fetchall()
        return [row[0] for row in reversed(rows)]

    def entries(self, ids: Sequence[str]) -> dict[str, Found]:
        """Return the entries of those that are in the index, by id."""
        marks = ",".join("?" * len(ids))
        sql = f"SELECT doc FROM message WHERE id IN ({marks})"  # noqa: S608
        docs = [row[0] for row in self._db.execute(sql, ids).fetchall()]
        return {entry.id: entry for entry in self._found(docs)}

    # --- searches

    def search(
        self, query: Query, start: int, limit: int, octets: int = MAX_PAGE_OCTETS
    ) -> tuple[list[Found], Counts]:
        """Return a page of what matches, newest first, and how much does.

        Raises:
            SearchGivenUpError: `give_up` was called.

        """
        with self._search():
            docs, counts = self._answer(self._planned(query), start, limit)
            return self._page(docs, octets), counts

    def newest(
        self, query: Query, limit: int, takes: Callable[[Found], bool] | None = None
    ) -> list[str]:
        """Return the ids of the newest that match, newest first; of those what `takes` takes.

        Raises:
            SearchGivenUpError: `give_up` was called.

        """
        with self._search():
            docs, _counts = self._answer(self._planned(query), 0, limit)
            if takes is None:
                return [name for at in _slices(docs) for name in self._ids(at)]
            return [found.id for found in self._found(docs) if takes(found)]

    def matching(self, query: Query) -> list[str]:
        """Return the ids of all that match. Raises `SearchGivenUpError`."""
        with self._search():
            hits = self._hits(self._planned(query))
            return [name for at in _slices(hits.docs) for name in self._ids(at)]

    @contextmanager
    def _search(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise SearchGivenUpError from error
            raise
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _planned(self, query: Query) -> Plan:
        self._known.update(self._db)
        return plan(query, self._known)

    def _hits(self, how: Plan) -> Hits:
        fed = self._one("SELECT fed FROM state")
        if how.words:
            return self._looked_at(how, fed)
        select = f"{_HIT}, NULL"
        if self._is_walk(how):
            return self._collected(*_walk(select, how))
        return self._collected(*_narrowed(select, how, fed))

    def _answer(self, how: Plan, start: int, limit: int) -> tuple[list[int], Counts]:
        """Return the documents of a page, newest first, and how much matches."""
        if not how.words:
            return self._counted(how, start, limit)
        if how.certain and self._one("SELECT is_ordered FROM state"):
            total = self._one("SELECT count(*) FROM words WHERE words MATCH ?", (how.certain,))
            if total >= _LEAST:
                return self._counted_in_words(how, total, start, limit)
        hits = self._hits(how)
        return _newest(hits, start, limit), Counts(len(hits.docs), hits.unread)

    def _counted_in_words(
        self, how: Plan, total: int, start: int, limit: int
    ) -> tuple[list[int], Counts]:
        """Answer a search for words that many messages have: FTS5 counts and sorts.

        `total` documents meet `how.certain`. The rows of few messages are read, of which a million
        take a second.
        """
        certain, rest = (how.certain,), self._doubtful(how)
        if self._one("SELECT EXISTS(SELECT 1 FROM gone)"):
            total -= self._one(f"SELECT count(*) FROM gone WHERE doc IN {_DOCS}", certain)  # noqa: S608
        unread = total
        if self._one("SELECT EXISTS(SELECT 1 FROM message WHERE is_read)"):
            read = f"SELECT count(*) FROM message WHERE is_read AND doc IN {_DOCS}"  # noqa: S608
            unread -= self._one(read, certain)
        rows = self._db.execute(_NEWEST, (*certain, start + limit)).fetchall()
        docs = heapq.merge((row[0] for row in rows), sorted(rest.docs, reverse=True), reverse=True)
        counts = Counts(total + len(rest.docs), unread + rest.unread)
        return list(itertools.islice(docs, start, start + limit)), counts

    def _doubtful(self, how: Plan) -> Hits:
        """Collect the matches among the documents of which only the text tells."""
        every = f"{_HIT}, {_TEXT} FROM message m WHERE "
        sql, values = f"{every}{_NOT_IN_WORDS}", [self._one("SELECT fed FROM state")]
        if how.doubtful:
            return self._collected(
                f"{sql} UNION ALL {every}{_MEETS}", (*values, how.doubtful), how.holds
            )
        return self._collected(sql, values, how.holds)

    def _counted(self, how: Plan, start: int, limit: int) -> tuple[list[int], Counts]:
        """Answer a search that needs no text: SQL counts and sorts."""
        counts = self._walked_counts(how)
        if counts is None:
            sql, values = _narrowed(_HIT, how, self._one("SELECT fed FROM state"))
            counts = self._count(sql, values)
        else:
            sql, values = _walk(_HIT, how)
        # Where much matches the order of arrival soon has a page; else what matches is sorted.
        is_common = counts.messages * _COMMON > self._one("SELECT messages FROM state")
        key = "key" if is_common else "+key"
        page = f"SELECT doc FROM ({sql}) ORDER BY {key} DESC, doc DESC LIMIT ? OFFSET ?"  # noqa: S608
        docs = self._db.execute(page, (*values, limit, start)).fetchall()
        return [row[0] for row in docs], counts

    def _walked_counts(self, how: Plan) -> Counts | None:
        """Count by a walk over all narrow rows, or over new ones; None if grams are shorter."""
        changes, following = self._db.execute("SELECT changes, next FROM state").fetchone()
        known = self._walked.get(how.where, changes)
        if known is None and not self._is_walk(how):
            return None
        sql, values = _walk(_HIT, how)
        if known is None:
            counts = self._count(sql, values)
        else:
            last, before = known
            new = self._count(f"{sql} AND m.doc > ?", (*values, last))
            counts = Counts(before.messages + new.messages, before.unread + new.unread)
        self._walked.put(how.where, changes, following - 1, counts)
        return counts

    def _count(self, sql: str, values: tuple[Any, ...]) -> Counts:
        count = f"SELECT count(*), coalesce(sum(NOT is_read), 0) FROM ({sql})"  # noqa: S608
        return Counts(*self._db.execute(count, values).fetchone())

    def _is_walk(self, how: Plan) -> bool:
        """Whether a walk over all narrow rows is shorter than the way by grams."""
        return not how.match or self._is_common(how.match, self._one("SELECT messages FROM state"))

    def _is_common(self, match: str, messages: int) -> bool:
        most = messages // _COMMON + _LEAST
        sql = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
        return self._one(sql, (match, most)) == most

    def _collected(
        self, sql: str, values: Sequence[Any], holds: Callable[[bytes], bool] | None = None
    ) -> Hits:
        """Collect rows; one with a packed text counts if `holds` says so.

        The rows are read one by one, because a text may take some MiB.
        """
        hits, unread = Hits(array("q"), array("q"), 0), 0
        for doc, key, is_read, packed in self._db.execute(sql, values):
            if self._is_given_up.is_set():
                raise SearchGivenUpError
            if holds is None or packed is None or holds(packed):
                hits.docs.append(doc)
                hits.keys.append(key)
                unread += not is_read
        return hits._replace(unread=unread)

    def _looked_at(self, how: Plan, fed: int) -> Hits:
        """Collect what the conditions of SQL allow, and look at the texts where it needs that."""
        looks, values = _look(how, fed)
        select = f"{_HIT}, CASE WHEN {looks} THEN {_TEXT} END"
        return self._collected(*_narrowed(select, how, fed, tuple(values)), how.holds)

    def _page(self, docs: Sequence[int], octets: int) -> list[Found]:
        """Return the entries that fit in so many bytes; the first is always among them."""
        page: list[Found] = []
        for found in self._found(docs):
            octets -= found.octets
            if octets < 0 and page:
                break
            page.append(found)
        return page

    def _found(self, docs: Sequence[int]) -> Iterator[Found]:
        for some in _slices(docs, _RECORDS):
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                "SELECT doc, id, packed, is_read, tags FROM message JOIN record USING(doc) "  # noqa: S608
                f"WHERE doc IN ({marks})",
                some,
            )
            entries: dict[int, Found] = {}
            for doc, name, packed, is_read, tags in rows.fetchall():
                record = unpack_record(packed)
                entries[doc] = Found(name, record, bool(is_read), tuple(read_tags(tags)))
            yield from (entries[doc] for doc in some if doc in entries)

    def _ids(self, docs: Sequence[int]) -> list[str]:
        marks = ",".join("?" * len(docs))
        sql = f"SELECT doc, id FROM message WHERE doc IN ({marks})"  # noqa: S608
        names = dict(self._db.execute(sql, docs).fetchall())
        return [names[doc] for doc in docs]

    def _one(self, sql: str, values: Sequence[Any] = ()) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])


_DOCS = "(SELECT rowid FROM words WHERE words MATCH ?)"
_NEWEST = (
    "SELECT rowid FROM words WHERE words MATCH ? AND rowid NOT IN (SELECT doc FROM gone) "
    "ORDER BY rowid DESC LIMIT ?"
)
_HIT = "SELECT m.doc, m.key, m.is_read"
_TEXT = "(SELECT packed FROM content WHERE doc = m.doc)"
_MEETS = f"m.doc IN {_DOCS}"
# Not fed yet, or too large to be.
_NOT_IN_WORDS = "(m.doc > ? OR m.doc IN (SELECT doc FROM large))"


def _walk(select: str, how: Plan) -> tuple[str, tuple[Any, ...]]:
    """Return a statement over all messages."""
    return f"{select} FROM message m WHERE {how.where.text}", how.where.values


def _narrowed(
    select: str, how: Plan, fed: int, values: tuple[Any, ...] = ()
) -> tuple[str, tuple[Any, ...]]:
    """Return a statement over what grams leave, and over what is not fed yet."""
    where, more = how.where
    where += "".join(f" AND NOT {_MEETS}" for _ in how.refused)
    more += how.refused
    every = f"{select} FROM message m WHERE "
    if not how.match:
        return f"{every}{where}", (*values, *more)
    sql = f"{every}{_MEETS} AND {where} UNION ALL {every}{_NOT_IN_WORDS} AND {where}"
    return sql, (*values, how.match, *more, *values, fed, *more)


def _look(how: Plan, fed: int) -> tuple[str, list[Any]]:
    """Return the condition for having to look at a document's text."""
    if how.must_look:
        return "1", []
    unsure = "".join(f" OR NOT {_MEETS}" for _ in how.sure)
    doubts = "".join(f" OR {_MEETS}" for _ in how.doubts)
    return f"({_NOT_IN_WORDS}{unsure}{doubts})", [fed, *how.sure, *how.doubts]


def _newest(hits: Hits, start: int, limit: int) -> list[int]:
    """Return the documents of a page, newest first."""
    if limit <= 0 or start >= len(hits.docs):
        return []
    newest = heapq.nlargest(start + limit, zip(hits.keys, hits.docs, strict=True))
    return [doc for _key, doc in newest[start:]]


def _slices(docs: Sequence[int], size: int = _IN_STATEMENT) -> Iterator[Sequence[int]]:
    for at in range(0, len(docs), size):
        yield docs[at : at + size]
