"""The form in which search compares text: Unicode NFC, case folded, one blank between words."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import category, normalize

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fold"]

_LARGE_PIECE = 64 * 1024  # characters that one call folds
# Ordering a run of n combining marks takes `normalize` n² steps in one call.
_SMALL_PIECE = 256
_JAMO = range(0x1160, 0x1200)  # Vowels and finals, which are composed with what precedes them.


def fold(text: str) -> str:
    """Return text in the form in which queries and mail are compared.

    `STRASSE` and `straße`, composed and decomposed umlauts, and both small sigmas become the same.
    Time is linear in the characters; no single call of the standard library takes long.
    """
    if len(text) <= _SMALL_PIECE:
        return " ".join((text.lower() if text.isascii() else _normalised(text)).split())
    folded: list[str] = []
    follows_blank = True
    for piece in _pieces(text):
        words = " ".join(_folded(piece).split())
        if words and folded and (follows_blank or piece[0].isspace()):
            folded.append(" ")
        folded.append(words)
        follows_blank = piece[-1].isspace() if words else follows_blank or bool(piece)
    return "".join(folded)


def _folded(piece: str) -> str:
    return piece.lower() if piece.isascii() else "".join(map(_normalised, _cut(piece)))


def _normalised(piece: str) -> str:
    return normalize("NFC", normalize("NFC", piece).casefold())


def _pieces(text: str) -> Iterator[str]:
    """Yield large parts of a text, which begin at a blank where one is in reach."""
    at = 0
    while at < len(text):
        end = at + _LARGE_PIECE
        if end < len(text):
            blank = max(text.rfind(" ", at + 1, end), text.rfind("\n", at + 1, end))
            end = blank if blank > at else _edge(text, at, end)
        yield text[at:end]
        at = end


def _cut(text: str) -> Iterator[str]:
    """Yield small parts of a text."""
    at = 0
    while at < len(text):
        end = min(at + _SMALL_PIECE, len(text))
        end = _edge(text, at, end) if end < len(text) else end
        yield text[at:end]
        at = end


def _edge(text: str, start: int, end: int) -> int:
    """Return the last place up to `end` that parts no composed character, `end` without one."""
    for at in range(end, max(start, end - _SMALL_PIECE // 2), -1):
        letter = text[at]
        if category(letter)[0] != "M" and ord(letter) not in _JAMO:
            return at
    return end
