"""The index as it is written: add messages, take them out, feed the words, all in one thread.

Each step is one transaction. Words are fed apart from the rest: they take longest, and a search
reads the texts of what is not fed yet.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mail.folding import fold
from prixfixe.mail.query import FIELDS
from prixfixe.stores.base import NOWHERE, Place, Said
from prixfixe.stores.index.file import close
from prixfixe.stores.index.packing import clean, pack_record, pack_text, tokens
from prixfixe.stores.index.vocabulary import Vocabulary

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from prixfixe.mail.query import Searchable

__all__ = ["CUTS", "Catalog", "Described"]

# Bits of `cut`: a field of which there may be more than was looked at.
CUTS = {name: 1 << at for at, name in enumerate((*FIELDS, "text"))}
_INSERT = f"INSERT INTO message VALUES({','.join('?' * 17)}) ON CONFLICT(id) DO NOTHING"
_IN_STATEMENT = 500


class Described(NamedTuple):
    """What is kept of a message: its entry in a list, as JSON, and what searches look at."""

    record: bytes
    text: Searchable


class Catalog:
    """The writing connection; `messages` is how many are in it, `cursor` the last appended."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.messages = self._next = self._fed = 0
        self.cursor = NOWHERE
        self.spread: Callable[[Sequence[Said]], None] | None = None  # to a store that has it too
        self._load()

    def _load(self) -> None:
        row = self._db.execute(
            "SELECT messages, next, fed, is_ordered, changes, cursor, cursor_id FROM state"
        ).fetchone()
        self.messages, self._next, self._fed, self._is_ordered, self._changes, *place = row
        self.cursor = Place(*place)
        self._highest = self._db.execute("SELECT max(key) FROM message").fetchone()[0]
        self._vocabulary = Vocabulary(self._db)
        row = self._db.execute("SELECT known FROM era ORDER BY doc DESC LIMIT 1").fetchone()
        self._known = 0 if row is None else row[0]

    def close(self) -> None:
        """Put all on disk and close. Raises `sqlite3.Error`."""
        close(self._db)

    @property
    def unfed(self) -> int:
        """At most how many documents wait for their words to be fed."""
        return self._next - 1 - self._fed

    # --- messages

    def add(self, described: Sequence[tuple[Place, Described]], cursor: Place | None) -> None:
        """Add messages, all that are not there yet; `cursor` is where to go on."""
        with self._transaction():
            for place, each in described:
                self._insert(place, each)
            self.cursor = cursor or self.cursor

    def _insert(self, place: Place, described: Described) -> None:
        doc, text = self._next, described.text
        values = (doc, place.id, place.key, *_measures(text), *map(clean, text.fields))
        if self._db.execute(_INSERT, values).rowcount == 0:  # it is there
            return
        packed = pack_record(described.record)
        self._db.execute("INSERT INTO record VALUES(?, ?)", (doc, packed))
        self._db.execute("INSERT INTO content VALUES(?, ?)", (doc, pack_text(clean(text.whole))))
        self._note_order(place.key)
        self._next += 1
        self.messages += 1

    def _note_order(self, key: int) -> None:
        """Note whether a message that is added stands above all others."""
        if not self.messages:
            self._highest, self._is_ordered = key, True
        elif key < self._highest:
            self._is_ordered = False
        else:
            self._highest = key

    def remove(self, ids: Sequence[str]) -> None:
        """Take messages out; what is not there is passed over."""
        for at in range(0, len(ids), _IN_STATEMENT):
            with self._change():
                self._remove(ids[at : at + _IN_STATEMENT])

    def _remove(self, ids: Sequence[str]) -> None:
        marks = ",".join("?" * len(ids))
        rows = self._db.execute(f"SELECT doc FROM message WHERE id IN ({marks})", ids)  # noqa: S608
        docs = rows.fetchall()
        for sql in ("DELETE FROM message WHERE doc = ?", "DELETE FROM record WHERE doc = ?"):
            self._db.executemany(sql, docs)
        unfed = [row for row in docs if row[0] > self._fed]
        self._db.executemany("DELETE FROM content WHERE doc = ?", unfed)
        fed = [row for row in docs if row[0] <= self._fed]
        self._db.executemany("INSERT INTO gone VALUES(?)", fed)
        self.messages -= len(docs)

    def remove_below(self, key: int) -> None:
        """Take out what stands below a key: retention took it."""
        rows = self._db.execute("SELECT id FROM message WHERE key < ?", (key,)).fetchall()
        self.remove([row[0] for row in rows])

    def between(self, after: int, until: int | None) -> set[str]:
        """Return the ids whose key is above `after`, up to and with `until`."""
        most = (1 << 63) - 1 if until is None else until
        rows = self._db.execute(
            "SELECT id FROM message WHERE key > ? AND key <= ?", (after, most)
        ).fetchall()
        return {row[0] for row in rows}

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of these messages that are here."""
        found: set[str] = set()
        for at in range(0, len(ids), _IN_STATEMENT):
            some = ids[at : at + _IN_STATEMENT]
            marks = ",".join("?" * len(some))
            sql = f"SELECT id FROM message WHERE id IN ({marks})"  # noqa: S608
            found |= {row[0] for row in self._db.execute(sql, some)}
        return found

    # --- words

    def feed(self, most: int, may_go_on: Callable[[], bool]) -> int:
        """Feed the words of the next documents; return how many there were."""
        rows = self._db.execute(
            "SELECT doc FROM content WHERE doc > ? ORDER BY doc LIMIT ?", (self._fed, most)
        ).fetchall()
        with self._transaction():
            self._begin_era()
            for (doc,) in rows:
                if not may_go_on():
                    break
                self._feed_one(doc)
            self._vocabulary.learn()
            if len(rows) < most and (not rows or self._fed == rows[-1][0]):
                self._fed = self._next - 1
        return len(rows)

    def _begin_era(self) -> None:
        """Note with how many known words the next documents are fed."""
        known = self._vocabulary.size
        if known != self._known:
            self._db.execute("INSERT OR REPLACE INTO era VALUES(?, ?)", (self._fed + 1, known))
            self._known = known

    def _feed_one(self, doc: int) -> None:
        self._fed = doc
        words = self._tokens(doc, self._known, self._vocabulary.note)
        if words is None:
            self._db.execute("INSERT OR IGNORE INTO large VALUES(?)", (doc,))
        else:
            self._db.execute("INSERT INTO words(rowid, tokens) VALUES(?, ?)", (doc, words))

    def purge(self, most: int) -> int:
        """Take the words of messages that are gone out; return how many there were."""
        rows = self._db.execute(
            "SELECT doc FROM gone JOIN content USING(doc) ORDER BY doc LIMIT ?", (most,)
        ).fetchall()
        if not rows:
            return 0
        with self._transaction():
            self._purge(rows)
        self._db.executescript("PRAGMA incremental_vacuum(256)")
        return len(rows)

    def _purge(self, docs: Sequence[tuple[int]]) -> None:
        if self.messages:
            self._db.executemany(
                "INSERT INTO words(words, rowid, tokens) VALUES('delete', ?, ?)",
                ((doc, words) for (doc,) in docs if (words := self._words_of(doc)) is not None),
            )
            self._db.executemany("DELETE FROM large WHERE doc = ?", docs)
            self._db.executemany("DELETE FROM content WHERE doc = ?", docs)
            self._db.executemany("DELETE FROM gone WHERE doc = ?", docs)
        else:
            self._db.execute("INSERT INTO words(words) VALUES('delete-all')")
            self._db.execute("DELETE FROM content")
            self._db.execute("DELETE FROM large")
            self._db.execute("DELETE FROM gone")

    def _words_of(self, doc: int) -> str | None:
        """Return what `words` has of a document, or None where it is in `large` instead."""
        sql = "SELECT 1 FROM large WHERE doc = ?"
        if self._db.execute(sql, (doc,)).fetchone() is not None:
            return None
        sql = "SELECT known FROM era WHERE doc <= ? ORDER BY doc DESC LIMIT 1"
        row = self._db.execute(sql, (doc,)).fetchone()
        return self._tokens(doc, 0 if row is None else row[0], _forget)

    def _tokens(self, doc: int, known: int, note: Callable[[str], None]) -> str | None:
        return tokens(self._packed(doc), self._vocabulary.numbers, known, note)

    def _packed(self, doc: int) -> bytes:
        """Return one packed text. They are read one by one: each may take some MiB."""
        row = self._db.execute("SELECT packed FROM content WHERE doc = ?", (doc,)).fetchone()
        packed: bytes = row[0]
        return packed

    # --- what people say of messages

    def mark(self, ids: Sequence[str] | None, *, is_read: bool) -> int:
        """Set the read state of these messages, or of all; return how many changed."""
        if self.spread is not None:
            self._spread_read(ids, is_read=is_read)
        value = int(is_read)
        sql = "UPDATE message SET is_read = ? WHERE is_read <> ?"
        with self._change():
            if ids is None:
                return self._db.execute(sql, (value, value)).rowcount
            values = ((value, value, each) for each in ids)
            return self._db.executemany(f"{sql} AND id = ?", values).rowcount

    def tag(self, ids: Sequence[str], tags: Sequence[str]) -> None:
        """Give these messages these tags in the place of those they have."""
        if self.spread is not None:
            self.spread([Said(each, tags=_unique(tags)) for each in ids])
        values = ((written_tags(tags), each) for each in ids)
        with self._change():
            self._db.executemany("UPDATE message SET tags = ? WHERE id = ?", values)

    def retag(self, old: str, new: str | None) -> None:
        """Rename a tag wherever it is, or take it away for None."""
        with self._change():
            changed = list(self._retagged(fold(old), new))
            if self.spread is not None:
                self._spread_tags(changed)
            self._db.executemany("UPDATE message SET tags = ? WHERE doc = ?", changed)

    def _retagged(self, old: str, new: str | None) -> Iterator[tuple[str, int]]:
        rows = self._db.execute("SELECT doc, tags FROM message WHERE tags <> ''").fetchall()
        for doc, written in rows:
            tags = read_tags(written)
            kept = [new if fold(tag) == old else tag for tag in tags]
            if kept != tags:
                yield written_tags([tag for tag in kept if tag is not None]), doc

    def take(self, said: Sequence[Said]) -> None:
        """Take over what people say, as a store of several servers has it."""
        read = [(int(one.is_read), one.id) for one in said if one.is_read is not None]
        tagged = [(written_tags(one.tags), one.id) for one in said if one.tags is not None]
        if read or tagged:
            with self._change():
                self._db.executemany("UPDATE message SET is_read = ? WHERE id = ?", read)
                self._db.executemany("UPDATE message SET tags = ? WHERE id = ?", tagged)

    def _spread_read(self, ids: Sequence[str] | None, *, is_read: bool) -> None:
        rows = self._db.execute("SELECT id FROM message WHERE is_read <> ?", (int(is_read),))
        changed = [row[0] for row in rows]
        if ids is not None:
            changed = list(set(changed).intersection(ids))
        if self.spread is not None and changed:
            self.spread([Said(each, is_read=is_read) for each in changed])

    def _spread_tags(self, changed: Sequence[tuple[str, int]]) -> None:
        said = []
        for written, doc in changed:
            (name,) = self._db.execute("SELECT id FROM message WHERE doc = ?", (doc,)).fetchone()
            said.append(Said(name, tags=tuple(read_tags(written))))
        if self.spread is not None and said:
            self.spread(said)

    # --- transactions

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Do a transaction after which counts of messages may be lower or other than before."""
        with self._transaction():
            self._changes += 1
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what is done within it, or undo all of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._commit()
        except BaseException:
            self._undo()
            raise

    def _commit(self) -> None:
        counts = (self.messages, self._next, self._fed, self._is_ordered, self._changes)
        self._db.execute(
            "UPDATE state SET messages = ?, next = ?, fed = ?, is_ordered = ?, changes = ?,"
            " cursor = ?, cursor_id = ?",
            (*counts, *self.cursor),
        )
        self._db.execute("COMMIT")

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._load()


def _forget(_word: str) -> None:
    """Take no note of a word."""


def written_tags(tags: Sequence[str]) -> str:
    """Return tags as they are kept: folded for searches, a line each, then as they were given."""
    unique = _unique(tags)
    if not unique:
        return ""
    folded = "\n".join(map(fold, unique))
    return clean(f"\n{folded}\n{json.dumps(unique, ensure_ascii=False)}")


def _unique(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple({fold(tag): tag for tag in tags}.values())


def read_tags(written: str) -> list[str]:
    """Return the tags as they were given."""
    return list(json.loads(written.rpartition("\n")[2])) if written else []


def _measures(text: Searchable) -> tuple[float | int | str, ...]:
    cut = sum(CUTS[name] for name in set(text.cut))
    tags = written_tags(text.tags)
    facts = (text.size, text.attachments, text.inline, int(text.is_read), cut, tags)
    return (text.received_at, *facts)
