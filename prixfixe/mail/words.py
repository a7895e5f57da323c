"""Encoded words of header fields (RFC 2047, RFC 2231 section 5), each judged by itself."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp
from typing import NamedTuple

from prixfixe.mail import charsets

__all__ = ["MAX_WORD_CHARACTERS", "decode_words", "word_end"]

MAX_WORD_CHARACTERS = 4096  # of one encoded word; RFC 2047 allows 75
_START = re.compile(r"=\?([^\s?*=]{1,40})(?:\*[^\s?]{0,40})?\?([BbQq])\?")
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/]+")


class _Word(NamedTuple):
    """An encoded word within a text: its place, its codec, and the bytes it stands for."""

    start: int
    end: int
    codec: str
    octets: bytes


def decode_words(text: str) -> str:
    """Return a field's text with its encoded words decoded.

    A word that cannot be decoded (an unknown charset or encoding, no valid character) stays as it
    is written. Blanks between two words are dropped, all others stay. Bytes of neighbours with the
    same charset are joined before they are decoded: senders cut characters in two.
    """
    if "=?" not in text:
        return text
    decoded: list[str] = []
    at, group = 0, list[_Word]()
    for word in _words(text):
        between = text[at : word.start]
        follows = bool(group) and not between.strip(" \t\r\n")
        if not follows or group[0].codec != word.codec:
            decoded.append(_text(group))
            group = []
        if not follows:
            decoded.append(between)
        group.append(word)
        at = word.end
    return "".join((*decoded, _text(group), text[at:]))


def word_end(text: str, at: int) -> int:
    """Return where the encoded word that begins at `at` ends, -1 when there is none."""
    start = _START.match(text, at)
    return -1 if start is None else _end(text, start.end())


def _end(text: str, at: int) -> int:
    """Return the end of a word whose text begins at `at`, -1 when it has none."""
    end = text.find("?=", at, at + MAX_WORD_CHARACTERS)
    if end < 0 or text.find("=?", at, end) >= 0:  # Another word begins before this one ends.
        return -1
    return end + 2


def _words(text: str) -> list[_Word]:
    """Return the words that can be decoded, in order."""
    words = []
    at = 0
    while start := _START.search(text, at):
        end = _end(text, start.end())
        codec = charsets.canonical(start[1])
        octets = None
        if end > 0 and codec is not None:
            octets = _octets(text[start.end() : end - 2], start[2])
        if octets is not None and codec is not None:
            words.append(_Word(start.start(), end, codec, octets))
        at = start.end() if end < 0 else end
    return words


def _octets(written: str, encoding: str) -> bytes | None:
    """Return the bytes that a word's text stands for, None when it is not encoded so."""
    if encoding in "Qq":
        return a2b_qp(written.encode("utf-8", "replace"), header=True)
    digits = _NO_BASE64.sub("", written)
    if written.strip() and len(digits) < 2:
        return None
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    try:
        return a2b_base64(digits + "=" * (-len(digits) % 4))
    except Error:
        return None


def _text(group: list[_Word]) -> str:
    if not group:
        return ""
    return charsets.decode(b"".join(word.octets for word in group), group[0].codec)
