"""The words that several messages have: each is one token in the index, and is found whole.

A word gets its number when it is seen a second time, and keeps it as long as the file exists. So
the tokens of a document follow from its text and from how many words were known when it was fed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = ["Known", "Vocabulary"]

# Shorter ones are grams themselves, so no token of a word can be taken for a gram.
MIN_LETTERS = 4
MAX_LETTERS = 32
MAX_WORDS = 50_000  # in some 8 MiB of memory
_BITS = 1 << 23  # of the filter: 1 MiB
_MAX_SEEN = 250_000  # words in the filter; it then takes one word in 300 for another


class Vocabulary:
    """The writer's side: `numbers` from 1 by word, and which other words were seen once."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        rows = db.execute("SELECT text, id FROM word ORDER BY id")
        self.numbers: dict[str, int] = dict(rows)
        self._filter = bytearray(_BITS // 8)
        self._seen = 0
        self._new: dict[str, None] = {}

    @property
    def size(self) -> int:
        """How many words have a number."""
        return len(self.numbers)

    def note(self, word: str) -> None:
        """Note a word without a number; the second time makes it a candidate."""
        if not MIN_LETTERS <= len(word) <= MAX_LETTERS or word in self._new:
            return
        if self.size + len(self._new) >= MAX_WORDS:
            return
        if self._was_seen(word):
            self._new[word] = None

    def learn(self) -> None:
        """Give the candidates numbers, within the transaction of the caller."""
        new, self._new = list(self._new), {}
        first = self.size + 1
        self._db.executemany("INSERT INTO word VALUES(?, ?)", enumerate(new, first))
        self.numbers |= {word: number for number, word in enumerate(new, first)}

    def _was_seen(self, word: str) -> bool:
        """Whether a word was here before, and note that it is now. May take one for another."""
        if self._seen >= _MAX_SEEN:
            self._filter, self._seen = bytearray(_BITS // 8), 0
        number = hash(word)
        bits = (number & (_BITS - 1), number >> 23 & (_BITS - 1))
        if all(self._filter[bit >> 3] >> (bit & 7) & 1 for bit in bits):
            return True
        for bit in bits:
            self._filter[bit >> 3] |= 1 << (bit & 7)
        self._seen += 1
        return False


class Known:
    """The reader's side: the words in the order of their numbers, as one text."""

    def __init__(self) -> None:
        self._text = "\n"
        self._size = 0

    def update(self, db: sqlite3.Connection) -> None:
        """Take the words that are new, within the transaction of a search."""
        rows = db.execute("SELECT id, text FROM word WHERE id > ? ORDER BY id", (self._size,))
        self._add(rows.fetchall())

    def _add(self, rows: Iterable[tuple[int, str]]) -> None:
        if rows:
            self._text += "".join(f"{word}\n" for _number, word in rows)
            self._size = max(number for number, _word in rows)

    def containing(self, piece: str, most: int) -> list[str]:
        """Return the first words, at most so many, that have a piece in them."""
        found: list[str] = []
        at = self._text.find(piece)
        while at >= 0 and len(found) < most:
            begin, end = self._text.rfind("\n", 0, at) + 1, self._text.find("\n", at)
            found.append(self._text[begin:end])
            at = self._text.find(piece, end)
        return found
