"""How records and texts are packed in the index.

Records of mail resemble one another, so they are packed with a dictionary of what they share; it
is part of the format: a change of it is a change of `SCHEMA_VERSION`.
"""

from __future__ import annotations

import string
import zlib

__all__ = [
    "TOKENIZER",
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


def grams(text: str) -> str:
    """Return what the words of a text are found by: all that is three characters long in them.

    The ends of words, which are shorter, are there too, so that one or two characters are found as
    the beginning of a gram. Each is there once.
    """
    words = set(text.translate(_BLANKS).split())
    return " ".join({word[at : at + 3] for word in words for at in range(len(word))})


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
