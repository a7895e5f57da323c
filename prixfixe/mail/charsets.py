"""Names of character sets in mail, and decoding by them.

A name from mail never reaches Python's codec registry, which looks for a file and remembers every
name. Codecs with quadratic time, such as `idna` and `punycode`, are not used.
"""

from __future__ import annotations

import codecs
import re
import sys
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["PIECE_OCTETS", "canonical", "decode", "decode_pieces"]

PIECE_OCTETS = 32 * 1024  # given to a codec at once: a call in C holds up every other thread
MAX_NAME = 40  # characters; the longest that IANA registered for mail has 45, in use are 20
_WITHOUT_ALIAS = (  # Python has these codecs under one name only.
    *("cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_t", "koi8_u", "utf_8_sig"),
    *("mac_arabic", "mac_croatian", "mac_farsi", "mac_romanian"),
)
_NO_TEXT = frozenset(  # codecs from bytes to bytes, or of another system; some of them unpack
    ("base64_codec", "bz2_codec", "hex_codec", "mbcs", "oem", "quopri_codec", "rot_13", "uu_codec")
) | {"zlib_codec"}
_KNOWN = frozenset(
    name
    for name in (*aliases, *aliases.values(), *_WITHOUT_ALIAS)
    if aliases.get(name, name) not in _NO_TEXT
)
# What senders mean is often the superset that Windows has: the WHATWG Encoding Standard, section
# 4.2, says so of most of these. US-ASCII is read as UTF-8, as unlabelled mail is.
_SUPERSETS = {
    **dict.fromkeys(("ascii", "us_ascii", "utf_8_sig"), "utf_8"),
    **dict.fromkeys(("latin_1", "iso8859_1"), "cp1252"),
    "iso8859_9": "cp1254",
    **dict.fromkeys(("iso8859_11", "tis_620"), "cp874"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    "shift_jis": "cp932",
    "iso2022_jp": "iso2022_jp_ext",
    "euc_kr": "cp949",
    "big5": "cp950",
}
_LABELS = {  # in use, and not known to Python under this name
    **dict.fromkeys(("iso_8859_8_i", "iso_8859_8_e", "logical", "visual"), "iso8859_8"),
    **dict.fromkeys(("iso_8859_6_i", "iso_8859_6_e"), "iso8859_6"),
    **dict.fromkeys(("windows_31j", "x_sjis", "x_ms_cp932", "cswindows31j", "sjis_win"), "cp932"),
    **dict.fromkeys(("x_euc_jp", "cseucpkdfmtjapanese", "x_euc"), "euc_jp"),
    **dict.fromkeys(("utf8mb4", "utf8mb3", "utf_8mb4", "x_utf8", "x_utf_8"), "utf_8"),
    **dict.fromkeys(("unicode_1_1_utf_8", "unicode11utf8", "x_unicode20utf8", "cp65001"), "utf_8"),
    **dict.fromkeys(("unicode_1_1_utf_7", "x_unicode_2_0_utf_7", "csunicode11utf7"), "utf_7"),
    **dict.fromkeys(("x_gbk", "x_gb", "csgb2312", "windows_936", "ms936", "gb2312_80"), "gb18030"),
    **dict.fromkeys(("gb_2312", "csiso58gb231280", "iso_ir_58", "chinese", "x_cp20936"), "gb18030"),
    **dict.fromkeys(("ks_c_5601", "ksc5601", "ksc_5601", "windows_949", "x_windows_949"), "cp949"),
    **dict.fromkeys(("korean", "iso_ir_149", "csksc56011987", "cseuckr"), "cp949"),
    **dict.fromkeys(("cn_big5", "x_x_big5", "windows_950", "big5_eten"), "cp950"),
    **dict.fromkeys(("x_mac_roman", "x_macintosh", "mac", "csmacintosh", "x_roman8"), "mac_roman"),
    **dict.fromkeys(("x_mac_cyrillic", "x_mac_ukrainian"), "mac_cyrillic"),
    **dict.fromkeys(("x_mac_ce", "x_mac_centraleurroman"), "mac_latin2"),
    "x_mac_greek": "mac_greek",
    "x_mac_turkish": "mac_turkish",
    "x_mac_icelandic": "mac_iceland",
    "x_mac_croatian": "mac_croatian",
    "x_mac_romanian": "mac_romanian",
    "x_mac_arabic": "mac_arabic",
    "x_mac_japanese": "cp932",
    "x_mac_korean": "cp949",
    "x_mac_chinesesimp": "gb18030",
    "x_mac_chinesetrad": "cp950",
    "dos_874": "cp874",
    "koi8": "koi8_r",
    "koi": "koi8_r",
    "koi8_ru": "koi8_u",
    "cskoi8r": "koi8_r",
    "ansi": "cp1252",
    "x_ansi": "cp1252",
    "unicode": "utf_16_le",
    "utf_16": "utf_16",
}
_SEVEN_BITS = bytes(range(128)) + b"\x1a" * 128  # to the control that stands for "no character"
_CODE_PAGE = re.compile(r"(?:x_)?(?:cp|windows|win|ibm|dos|ms|ms_ansi)_?([0-9]{3,4})\Z")
_ISO = re.compile(r"(?:x_)?(?:iso_?)?8859_?([0-9]{1,2})(?:_?[12][0-9]{3})?\Z")


@lru_cache(maxsize=256)
def canonical(name: str) -> str | None:
    """Return the codec for a label, None for an unknown one.

    Labels are those of Python, of the WHATWG Encoding Standard, and of Windows.
    """
    if len(name) > MAX_NAME:
        return None
    spelled = normalize_encoding(name.strip(" \t\"'")).lower()
    found = next(filter(None, map(_known, _spellings(spelled))), None)
    return found and _SUPERSETS.get(found, found)


def _spellings(label: str) -> Iterator[str]:
    yield from (label, label.replace(".", "_"))
    if page := _CODE_PAGE.match(label):
        yield f"cp{page[1]}"
    if iso := _ISO.match(label):
        yield f"iso8859_{iso[1]}"


def _known(spelled: str) -> str | None:
    if spelled in _LABELS:
        return _LABELS[spelled]
    return aliases.get(spelled, spelled) if spelled in _KNOWN else None


def decode(octets: bytes, name: str) -> str:
    """Return text whatever its charset claims: what cannot be decoded is replaced."""
    return "".join(decode_pieces((octets,), name))


def decode_pieces(pieces: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the text of bytes that come in pieces; what cannot be decoded is replaced."""
    decoder = _decoder(canonical(name) or "utf_8")
    for piece in pieces:
        for at in range(0, len(piece), PIECE_OCTETS):
            yield decoder(piece[at : at + PIECE_OCTETS], False)  # noqa: FBT003 - as codecs have it
    if rest := decoder(b"", True):  # noqa: FBT003 - as above
        yield rest


def _decoder(codec: str) -> Callable[[bytes, bool], str]:
    """Return what decodes piece by piece."""
    try:
        table = _table(codecs.lookup(codec).name)
        if table:
            return lambda octets, _final: codecs.charmap_decode(octets, "strict", table)[0]
        decode = codecs.getincrementaldecoder(codec)("replace").decode
    except LookupError:  # not on this system
        decode = codecs.getincrementaldecoder("utf_8")("replace").decode
    return _without_surrogates(decode) if codec == "utf_7" else _quietly(decode)


@lru_cache(maxsize=64)
def _table(codec: str) -> str:
    """Return what the 256 bytes of a single-byte codec mean, "" for another codec.

    Python's own table leaves bytes out; an error for each of millions takes a hundred times longer.
    """
    module = sys.modules.get(f"encodings.{codec.replace('-', '_')}")
    table = getattr(module, "decoding_table", None)
    is_usable = isinstance(table, str) and len(table) == 256
    return table.replace("\ufffe", "\ufffd") if is_usable and table else ""


def _quietly(decode: Callable[[bytes, bool], str]) -> Callable[[bytes, bool], str]:
    """Return a decoder that raises nothing: some codecs do not honour "replace" everywhere."""

    def decode_quietly(octets: bytes, final: bool) -> str:  # noqa: FBT001 - as codecs have it
        try:
            return decode(octets, final)
        except ValueError:
            return "\ufffd"

    return decode_quietly


def _without_surrogates(decode: Callable[[bytes, bool], str]) -> Callable[[bytes, bool], str]:
    """Return a decoder of UTF-7, which writes lone surrogates, and is slow where it is wrong."""
    quietly = _quietly(decode)

    def decode_utf_7(octets: bytes, final: bool) -> str:  # noqa: FBT001 - as codecs have it
        text = quietly(octets.translate(_SEVEN_BITS), final)
        return text.encode("utf-8", "replace").decode("utf-8").replace("\x1a", "\ufffd")

    return decode_utf_7
