"""How records and texts are packed in the index.

Records of mail resemble one another, so they are packed with a dictionary of what they share; it
is part of the format: a change of it is a change of `SCHEMA_VERSION`.
"""

from __future__ import annotations

import re
import string
import zlib

__all__ = [
    "TOKENIZER",
    "clean",
    "expression",
    "grams",
    "is_exact",
    "pack_record",
    "pack_text",
    "unpack_record",
    "unpack_text",
]

# Grams come parted by blanks, and may hold any other character.
TOKENIZER = "ascii tokenchars '" + string.punctuation.replace("'", "''") + "'"
_SHARED = (
    b'{"ID":"019","MessageID":"@localhost","Read":false,"From":{"Name":"","Address":"@example.org"'
    b'},"To":[{"Name":"","Address":"@example.com"}],"Cc":[],"Bcc":[{"Name":"","Address":"'
    b'"}],"ReplyTo":[],"Subject":"Re: ","Created":"2026-01-01T00:00:00.000Z","Username":"",'
    b'"Tags":[],"Size":,"Attachments":0,"Snippet":" the and of to "}'
)
_LEVEL = 3
MAX_TEXT = 2 * 1024 * 1024  # bytes
MAX_GRAMS = 30_000  # English prose of 2 MiB has some 15,000
_SLICE = 4096  # characters of a word
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


def grams(packed: bytes) -> str | None:
    """Return what the words of a packed text are found by: each piece of three characters.

    The ends of words, which are shorter, are there too, so that one or two characters are found as
    the beginning of a gram. Each is there once. A text that is longer than MAX_TEXT bytes, or has
    more than MAX_GRAMS of them, has None: random text of some MiB would take ten times its size.
    """
    octets = zlib.decompressobj(wbits=-15).decompress(packed, MAX_TEXT + 1)
    if len(octets) > MAX_TEXT:
        return None
    found: set[str] = set()
    words: set[str] = set()
    for match in _WORD.finditer(octets.decode("utf-8")):
        word = match.group()
        if word in words:
            continue
        if len(words) < MAX_GRAMS:
            words.add(word)
        for start in range(0, len(word), _SLICE):
            ends = range(start, min(start + _SLICE, len(word)))
            found.update(word[at : at + 3] for at in ends)
            if len(found) > MAX_GRAMS:
                return None
    return " ".join(found)


def expression(text: str) -> str | None:
    """Return an FTS5 expression that all texts with this one in them meet, if there is one."""
    words = text.translate(_BLANKS).split()
    wanted = dict.fromkeys(
        _quoted(word[at : at + 3]) for word in words for at in range(len(word) - 2)
    )
    # What begins with one or two characters takes long to gather, and narrows little down.
    wanted = wanted or dict.fromkeys(f"{_quoted(word)}*" for word in words)
    return " AND ".join(wanted) or None


def is_exact(text: str) -> bool:
    """Whether all texts that meet the expression have this text in them."""
    return len(text) <= 3 and [text] == text.translate(_BLANKS).split()


def _quoted(gram: str) -> str:
    return '"' + gram.replace('"', '""') + '"'
