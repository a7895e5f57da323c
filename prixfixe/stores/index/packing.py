"""How records and texts are packed in the index.

Records of mail resemble one another, so they are packed with a dictionary of what they share; it
is part of the format: a change of it is a change of `SCHEMA_VERSION`.
"""

from __future__ import annotations

import re
import string
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "TOKENIZER",
    "clean",
    "grams_of",
    "pack_record",
    "pack_text",
    "pieces",
    "quoted",
    "tokens",
    "unpack_record",
    "unpack_text",
]

# Tokens come parted by blanks, and may hold any other character.
TOKENIZER = "ascii tokenchars '" + string.punctuation.replace("'", "''") + "'"
_SHARED = (
    b'{"ID":"019","MessageID":"@localhost","Read":false,"From":{"Name":"","Address":"@example.org"'
    b'},"To":[{"Name":"","Address":"@example.com"}],"Cc":[],"Bcc":[{"Name":"","Address":"'
    b'"}],"ReplyTo":[],"Subject":"Re: ","Created":"2026-01-01T00:00:00.000Z","Username":"",'
    b'"Tags":[],"Size":,"Attachments":0,"Snippet":" the and of to "}'
)
_LEVEL = 3
MAX_TEXT = 2 * 1024 * 1024  # bytes
MAX_TOKENS = 30_000  # English prose of 2 MiB has some 15,000
_SLICE = 4096  # characters of a word
_SHORT = 64 * 1024  # characters that are taken apart at once
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")  # what is left between `_BLANKS`
# The tokenizer parts words at these too.
_BLANKS = dict.fromkeys((*range(32), 127), " ")


def pack_record(record: bytes) -> bytes:
    """Return a record packed."""
    packer = zlib.compressobj(_LEVEL, wbits=-15, zdict=_SHARED)
    return packer.compress(record) + packer.flush()


def unpack_record(packed: bytes) -> bytes:
    """Return the record."""
    return zlib.decompressobj(wbits=-15, zdict=_SHARED).decompress(packed)


def pack_text(text: str) -> bytes:
    """Return a text packed."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), _LEVEL, wbits=-15)


def unpack_text(packed: bytes) -> bytes:
    """Return the text in UTF-8."""
    return zlib.decompress(packed, wbits=-15)


def clean(text: str) -> str:
    """Return text that SQLite takes: without halves of characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def tokens(
    packed: bytes, numbers: Mapping[str, int], known: int, note: Callable[[str], None]
) -> str | None:
    """Return what the words of a packed text are found by.

    A word that has one of the first so many `numbers` is one token. `note` is told of any other
    word. Each piece of it that has three characters is a token, and so are its ends, which are
    shorter: one or two characters are found as the beginning of a piece. Each token is there once.
    A text that is longer than MAX_TEXT bytes, or has more than MAX_TOKENS of them, has None: random
    text of some MiB would take ten times its size.
    """
    octets = zlib.decompressobj(wbits=-15).decompress(packed, MAX_TEXT + 1)
    if len(octets) > MAX_TEXT:
        return None
    found: set[str] = set()
    for word in _distinct(octets.decode("utf-8")):
        if 0 < numbers.get(word, 0) <= known:
            found.add(word)
        else:
            _add_grams(word, found)
            note(word)
        if len(found) > MAX_TOKENS:
            return None
    return " ".join(found)


def _distinct(text: str) -> Iterator[str]:
    """Yield each word once; of very many, some more often."""
    if len(text) <= _SHORT:
        yield from set(_WORD.findall(text))
        return
    words: set[str] = set()
    for match in _WORD.finditer(text):
        word = match.group()
        if word not in words:
            yield word
        if len(words) < MAX_TOKENS:
            words.add(word)


def _add_grams(word: str, found: set[str]) -> None:
    for start in range(0, len(word), _SLICE):
        ends = range(start, min(start + _SLICE, len(word)))
        found.update([word[at : at + 3] for at in ends])
        if len(found) > MAX_TOKENS:
            return


def pieces(text: str) -> list[str]:
    """Return the parts of a term that are within one word each."""
    return text.translate(_BLANKS).split()


def grams_of(piece: str) -> str:
    """Return an expression that each document meets which has a piece in a word without a number.

    Only pieces of three characters at most are surely there then.
    """
    if len(piece) < 3:
        return f"{quoted(piece)}*"
    grams = dict.fromkeys(quoted(piece[at : at + 3]) for at in range(len(piece) - 2))
    return " AND ".join(grams)


def quoted(token: str) -> str:
    """Return a token as FTS5 expressions have it."""
    return '"' + token.replace('"', '""') + '"'
