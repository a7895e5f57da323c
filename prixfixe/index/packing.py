"""How records and texts are packed in the index.

Records of mail resemble one another, so they are packed with a dictionary of what they share; it
is part of the format: a change of it is a change of `SCHEMA_VERSION`.
"""

from __future__ import annotations

import zlib

__all__ = ["pack_record", "pack_text", "trigrams", "unpack_record", "unpack_text"]

_SHARED = (
    b'{"ID":"019","MessageID":"@localhost","Read":false,"From":{"Name":"","Address":"@example.org"'
    b'},"To":[{"Name":"","Address":"@example.com"}],"Cc":[],"Bcc":[{"Name":"","Address":"'
    b'"}],"ReplyTo":[],"Subject":"Re: ","Created":"2026-01-01T00:00:00.000Z","Username":"",'
    b'"Tags":[],"Size":,"Attachments":0,"Snippet":" the and of to "}'
)
_LEVEL = 3


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


def fed(text: str) -> str:
    """Return text as the tokenizer is given it: NUL would end it."""
    return text.replace("\0", "\1")


def trigrams(text: str) -> str | None:
    """Return an FTS5 expression that all texts with this one in them meet; None if it is short."""
    text = fed(text)
    grams = dict.fromkeys(text[at : at + 3] for at in range(len(text) - 2))
    quoted = ['"' + gram.replace('"', '""') + '"' for gram in grams]
    return " AND ".join(quoted) or None
