"""A header block: where it ends, and its fields, unfolded (RFC 5322 section 2.2, and obsolete 4).

A blank before the colon is read; a line that is no field is passed over where fields follow.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from prixfixe.mail.mime_limits import MAX_HEADER_OCTETS
from prixfixe.mail.words import decode_words

__all__ = ["Header", "read_header"]

_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:[ \t]*+([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)")
_EMPTY = re.compile(rb"\r*\n")
_FOLD = re.compile(r"\r*\n[ \t]")
_BREAKS = re.compile(r"\r\n|[\r\n]")
_TWO_BREAKS = re.compile(rb"\n\r?\n")


class Header(NamedTuple):
    """The fields of a header block in order, unfolded, not decoded; `end` is where it ends.

    `is_cut` says that there are more of them than are looked at.
    """

    fields: tuple[tuple[str, str], ...]
    end: int
    is_cut: bool = False

    def values(self, name: str) -> list[str]:
        """Return all fields of this name."""
        wanted = name.lower()
        return [value for key, value in self.fields if key.lower() == wanted]

    def first(self, name: str) -> str:
        """Return the first field of this name, "" when there is none."""
        wanted = name.lower()
        return next((value for key, value in self.fields if key.lower() == wanted), "")

    def text(self, name: str) -> str:
        """Return the first field of this name as a reader sees it, in one line."""
        return _shown(self.first(name))

    def texts(self, name: str) -> list[str]:
        """Return all fields of this name as a reader sees them."""
        return [_shown(value) for value in self.values(name)]


def _shown(value: str) -> str:
    return _BREAKS.sub(" ", decode_words(value))


def read_header(octets: bytes, start: int = 0, end: int | None = None) -> Header:
    """Read the header block that begins at `start`.

    It ends at the first empty line. Lines before it that are no field, and that no field follows,
    are the beginning of a body whose header lacks that line.
    """
    end = len(octets) if end is None else end
    limit = min(end, start + MAX_HEADER_OCTETS)
    fields: list[tuple[str, str]] = []
    at = after_field = start
    while at < limit:
        if empty := _EMPTY.match(octets, at, limit):
            return Header(tuple(fields), empty.end() if at == after_field else after_field)
        if field := _FIELD.match(octets, at, limit):
            fields.append((field[1].decode("ascii"), _unfolded(field[2])))
            at = after_field = field.end()
        else:
            at = octets.find(b"\n", at, limit) + 1 or limit
    if limit < end:
        return Header(tuple(fields), _after_empty_line(octets, limit, end), is_cut=True)
    return Header(tuple(fields), after_field)


def _unfolded(value: bytes) -> str:
    """Return a field's text: it is ASCII, or UTF-8 (RFC 6532), or unknown."""
    text = value.decode("utf-8", "replace")
    return _FOLD.sub(" ", text).strip(" \t\r\n") if "\n" in text else text.strip(" \t\r")


def _after_empty_line(octets: bytes, at: int, end: int) -> int:
    found = _TWO_BREAKS.search(octets, at - 2, end)
    return found.end() if found else at
