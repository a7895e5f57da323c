"""Transfer encodings (RFC 2045 section 6), decoded in pieces, leniently."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from prixfixe.mail.charsets import PIECE_OCTETS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["decoded_pieces", "encoding_name"]

_COMMENT = re.compile(r"\([^()]*\)")
_TOKEN = re.compile(r"[A-Za-z0-9-]+")
_UUENCODED = frozenset(("x-uuencode", "uuencode", "x-uue", "uue"))
_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in _DIGITS + b"=")
_MAX_ENDS = 1000  # in one base64 text: each costs as much as a kilobyte
_TRAILING_BLANKS = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")
_BEGIN = re.compile(rb"(?<![^\n])begin [0-7]{3,4} [^\n]*+\n")
_MAX_UU_LINE = 128  # bytes; a full line has 61


def encoding_name(field: str) -> str:
    """Return the encoding that a Content-Transfer-Encoding names, in lower case."""
    found = _TOKEN.search(_COMMENT.sub(" ", field[:1000]) if "(" in field else field[:1000])
    return found[0].lower() if found else ""


def decoded_pieces(octets: bytes, start: int, end: int, encoding: str) -> Iterator[bytes]:
    """Yield what a range of bytes stands for; of an unknown encoding the bytes themselves."""
    if encoding == "base64":
        return _base64(octets, start, end)
    if encoding == "quoted-printable":
        return _quoted_printable(octets, start, end)
    if encoding in _UUENCODED:
        return _uuencoded(octets, start, end)
    return _pieces(octets, start, end)


def _pieces(octets: bytes, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, PIECE_OCTETS):
        yield octets[at : min(at + PIECE_OCTETS, end)]


def _base64(octets: bytes, start: int, end: int) -> Iterator[bytes]:
    """Decode base64; a padding in the middle ends a text, and another follows.

    What is no digit is passed over (RFC 2045 6.8); a missing padding is added.
    """
    carried, ends = b"", 0
    for piece in _pieces(octets, start, end):
        texts = piece.translate(None, _NO_DIGITS).split(b"=", max(0, _MAX_ENDS - ends))
        ends += len(texts) - 1
        for text in texts[:-1]:
            yield _ended(carried + text)
            carried = b""
        digits = carried + texts[-1].replace(b"=", b"")
        whole = len(digits) & ~3
        yield binascii.a2b_base64(digits[:whole])
        carried = digits[whole:]
    yield _ended(carried)


def _ended(digits: bytes) -> bytes:
    """Decode a text to its end; a single digit left over stands for no byte."""
    digits = digits[:-1] if len(digits) % 4 == 1 else digits
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def _quoted_printable(octets: bytes, start: int, end: int) -> Iterator[bytes]:
    at = start
    while at < end:
        cut = _line_end(octets, at, end)
        piece = octets[at:cut]
        if b" \r\n" in piece or b"\t\r\n" in piece or b" \n" in piece or b"\t\n" in piece:
            piece = _TRAILING_BLANKS.sub(b"", piece)
        yield binascii.a2b_qp(piece)
        at = cut


def _line_end(octets: bytes, at: int, end: int) -> int:
    """Return where a piece ends that parts no line, or at least no `=XX` and no blank's run."""
    if end - at <= PIECE_OCTETS:
        return end
    cut = octets.rfind(b"\n", at, at + PIECE_OCTETS) + 1
    if cut:
        return cut
    cut = at + PIECE_OCTETS
    sign = octets.find(b"=", cut - 2, cut)
    return cut if sign < 0 else sign


def _uuencoded(octets: bytes, start: int, end: int) -> Iterator[bytes]:
    """Decode the lines between `begin` and `end`; without a `begin`, yield the bytes themselves."""
    begin = _BEGIN.search(octets, start, min(end, start + PIECE_OCTETS))
    if begin is None:
        yield from _pieces(octets, start, end)
        return
    at = begin.end()
    while at < end:
        stop = octets.find(b"\n", at, end) + 1 or end
        line = octets[at:stop].rstrip(b"\r\n")
        if line == b"end":
            return
        yield _uu_line(line)
        at = stop


def _uu_line(line: bytes) -> bytes:
    if not line or len(line) > _MAX_UU_LINE:
        return b""
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:  # Blanks at its end were lost, or there is more than it says.
        octets = ((line[0] - 32) & 63) * 4 + 5
        try:
            return binascii.a2b_uu(line[: octets // 3])
        except binascii.Error:
            return b""
