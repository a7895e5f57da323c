"""Names of character sets as mail writes them.

Owns: which of Python's codecs mail may ask for, and decoding by them.
Promises: work linear in the octets; no name that mail chose reaches the codec registry, which looks
for a file and remembers every name it was ever asked for.
Refuses: `idna`, `punycode` and other codecs that no mail is written in; the first two take time
that grows with the square of the text.
"""

from __future__ import annotations

from encodings import normalize_encoding
from encodings.aliases import aliases

__all__ = ["canonical", "decode"]

MAX_NAME = 40  # characters; the longest that IANA registered for mail has 45, in use are 20
_WITHOUT_ALIAS = (  # Python has these codecs under one name only.
    *("cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_t", "koi8_u", "utf_8_sig"),
    *("mac_arabic", "mac_croatian", "mac_farsi", "mac_romanian"),
)
_KNOWN = frozenset((*aliases, *aliases.values(), *_WITHOUT_ALIAS))


def canonical(name: str) -> str | None:
    """Return the one spelling of a known name, None for an unknown one."""
    if len(name) > MAX_NAME:
        return None
    spelled = normalize_encoding(name).lower()
    return next((one for one in (spelled, spelled.replace(".", "_")) if one in _KNOWN), None)


def decode(octets: bytes, name: str) -> str:
    """Return text whatever its charset claims: what cannot be decoded is replaced."""
    try:
        return octets.decode(canonical(name) or "utf-8", "replace")
    except (LookupError, ValueError):  # One that is no text encoding, or not on this system.
        return octets.decode("utf-8", "replace")
