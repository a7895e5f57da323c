"""Values with parameters, as in Content-Type (RFC 2045 section 5.1, RFC 2231), read leniently."""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from prixfixe.mail import charsets
from prixfixe.mail.mime_limits import MAX_PARAMETERS, MAX_STRUCTURED_CHARACTERS
from prixfixe.mail.words import decode_words

__all__ = ["Structured", "read_structured"]

_COMMENT = re.compile(r"\([^()]*\)")
_PARAMETER = re.compile(
    r'([^\s=;"*]{1,60})(?:\*([0-9]{1,4}))?(\*)?\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^;]*))', re.DOTALL
)
_ESCAPED = re.compile(r'\\(["\\])')
_FREE_TEXT = ("filename", "name")  # whose blanks and brackets are kept where quotes are missing


class Structured(NamedTuple):
    """The value of a field in lower case, and its parameters, decoded, by names in lower case."""

    value: str
    parameters: dict[str, str]


class _Piece(NamedTuple):
    """A parameter as it is written; `number` is -1 for one that is whole."""

    name: str
    number: int
    is_extended: bool
    text: str


def read_structured(field: str) -> Structured:
    """Read a field; of one that is too long the beginning."""
    field = field[:MAX_STRUCTURED_CHARACTERS]
    value, _, rest = field.partition(";")
    if "=" in value:  # The semicolon is missing.
        value, _, rest = field.partition(" ")
    value = " ".join(_COMMENT.sub(" ", value).split()).lower()
    if not rest:
        return Structured(value, {})
    pieces = [
        _piece(*found.groups("")) for found in islice(_PARAMETER.finditer(rest), MAX_PARAMETERS)
    ]
    names = dict.fromkeys(piece.name for piece in pieces)
    return Structured(value, {name: _decoded(pieces, name) for name in names})


def _piece(name: str, number: str, star: str, quoted: str, bare: str) -> _Piece:
    name = name.lower()
    text = _ESCAPED.sub(r"\1", quoted) if quoted else _bare(name, bare)
    return _Piece(name, int(number) if number else -1, bool(star), text)


def _bare(name: str, text: str) -> str:
    text = text.strip().removeprefix('"')
    if name in _FREE_TEXT:
        return text
    return next(iter(_COMMENT.sub(" ", text).split()), "")


def _decoded(pieces: list[_Piece], name: str) -> str:
    """Return a parameter: its extended form, else the one in pieces, else the plain one."""
    mine = [piece for piece in pieces if piece.name == name]
    whole = {piece.is_extended: piece.text for piece in reversed(mine) if piece.number < 0}
    if True in whole:
        return _joined([_Piece(name, 0, is_extended=True, text=whole[True])])
    numbered = {piece.number: piece for piece in reversed(mine) if piece.number >= 0}
    if numbered:
        return _joined(_in_order(numbered))
    return decode_words(whole.get(False, ""))


def _in_order(numbered: dict[int, _Piece]) -> list[_Piece]:
    """Return the pieces from the first to the first gap."""
    at = min(numbered)
    ordered = []
    while at in numbered:
        ordered.append(numbered[at])
        at += 1
    return ordered


def _joined(pieces: list[_Piece]) -> str:
    """Return the text of pieces; bytes of neighbours are joined before they are decoded."""
    charset, text = "", pieces[0].text
    if pieces[0].is_extended and text.count("'") >= 2:
        charset, _language, text = text.split("'", 2)
    elif not any(piece.is_extended for piece in pieces):
        return decode_words("".join(piece.text for piece in pieces))
    return _run([pieces[0]._replace(text=text), *pieces[1:]], charset)


def _run(pieces: list[_Piece], charset: str) -> str:
    decoded, waiting = [], b""
    for piece in pieces:
        if piece.is_extended:
            waiting += unquote_to_bytes(piece.text)
        else:
            decoded += [charsets.decode(waiting, charset), piece.text]
            waiting = b""
    return "".join((*decoded, charsets.decode(waiting, charset)))
