"""The SMTP path grammar of RFC 5321 section 4.1.2, with RFC 6531's Unicode.

Owns: turning the text after `FROM:` or `TO:` into a mailbox exactly as it was sent.
Promises: every text is either refused with `AddressError` or the mailbox comes back unchanged; a
mailbox never holds CR, LF, NUL or another control character; nothing is decoded, unquoted,
case-folded or looked up (RFC 2047 words are ordinary text here, so they cannot smuggle octets).
Refuses: Internet *message* address syntax (comments, display names, groups), obsolete domains
without a name, and address literals whose tag nobody registered.
"""

from __future__ import annotations

import re
from functools import cache
from ipaddress import AddressValueError, IPv6Address
from unicodedata import normalize

__all__ = [
    "MAX_PLAIN_OCTETS",
    "NON_ASCII",
    "PLAIN_PATH",
    "AddressError",
    "comparable",
    "is_literal",
    "parse_path",
]

MAX_DOMAIN_OCTETS = 255  # RFC 5321 4.5.3.1.2: the DNS holds no longer one
# No bound on a local part (RFC 5321 4.5.3.1), but that `Return-Path: <…>` is a line of RFC 5322.
MAX_PATH_OCTETS = 980
MAX_LABEL_OCTETS = 63  # RFC 1035 2.3.4

# Non-ASCII without C1 controls, line and paragraph separators, surrogates (RFC 6531 3.3).
NON_ASCII = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
_ATEXT = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{NON_ASCII}-]"
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
# qtextSMTP is printable ASCII but for the quote and the backslash; a pair quotes any of it.
_QUOTED = rf'"(?:[ !#-\[\]-~{NON_ASCII}]|\\[ -~])*"'
_ALNUM_ = rf"[A-Za-z0-9_{NON_ASCII}]"  # hosts have underscores, though the DNS wants none
_LABEL = rf"{_ALNUM_}(?:[A-Za-z0-9_{NON_ASCII}-]*{_ALNUM_})?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[0-9A-Za-z:.]+\]"

_ASCII_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ASCII_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
PLAIN_PATH = rf"<({_ASCII_ATEXT}(?:\.{_ASCII_ATEXT})*@{_ASCII_LABEL}(?:\.{_ASCII_LABEL})*)>"
MAX_PLAIN_OCTETS = MAX_LABEL_OCTETS  # nothing in a path this short can be too long
_PLAIN = re.compile(PLAIN_PATH)


@cache
def _grammar() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return source route and mailbox: their Unicode classes take 40 ms to compile, so not yet."""
    route = re.compile(rf"@{_NAME}(?:,@{_NAME})*:")
    return route, re.compile(rf"({_DOT_STRING}|{_QUOTED})@({_NAME}|{_LITERAL})")


_IPV4 = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_PAIR = re.compile(r"\\(.)")
_UNSAFE_SPACE = re.compile(r"[\u1680\u2000-\u200a\u202f\u205f\u3000\ufeff\u00a0]")


class AddressError(ValueError):
    """The text is not a path of RFC 5321 section 4.1.2."""


def parse_path(text: str) -> tuple[str, str]:
    """Split `<mailbox>rest` into the mailbox as sent and the rest.

    The mailbox is "" for `<>`; a bare `<postmaster>` in any case is the one name without a
    domain (RFC 5321 section 4.5.1); a source route is dropped (RFC 5321 appendix C).

    Raises:
        AddressError: the text does not begin with a path.

    """
    plain = _PLAIN.match(text, 0, MAX_PLAIN_OCTETS)
    if plain is not None:
        return plain[1], text[plain.end() :]
    return _parse_full(text)


def _parse_full(text: str) -> tuple[str, str]:
    if text.startswith("<>"):
        return "", text[2:]
    if text[:12].lower() == "<postmaster>":
        return text[1:11], text[12:]
    if not text.startswith("<"):
        raise AddressError("no opening bracket")
    route_form, mailbox_form = _grammar()
    route = route_form.match(text, 1)
    start = route.end() if route else 1
    found = mailbox_form.match(text, start)
    if found is None or text[found.end() : found.end() + 1] != ">":
        raise AddressError("no mailbox in brackets")
    if _octets(text[: found.end() + 1]) > MAX_PATH_OCTETS:
        raise AddressError("path too long")
    _check_domain(found[2])
    return found.group(), text[found.end() + 1 :]


def _octets(text: str) -> int:
    return len(text.encode())


def _check_domain(domain: str) -> None:
    if domain.startswith("["):
        if not is_literal(domain):
            raise AddressError("bad address literal")
        return
    if _UNSAFE_SPACE.search(domain):
        raise AddressError("white space in a domain")
    if sum(_label_octets(label) + 1 for label in domain.split(".")) - 1 > MAX_DOMAIN_OCTETS:
        raise AddressError("domain too long")


def _label_octets(label: str) -> int:
    """Return a label's length in the form the DNS would use (RFC 5890 section 2.3.2.1)."""
    octets = len(_a_label(label))
    if octets > MAX_LABEL_OCTETS:
        raise AddressError("label too long")
    return octets


def is_literal(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address literal (RFC 5321 section 4.1.3)."""
    inner = text[1:-1]
    if inner[:5].lower() == "ipv6:":
        try:
            IPv6Address(inner[5:])
        except AddressValueError:
            return False
        return True
    quad = _IPV4.fullmatch(inner)
    return quad is not None and all(int(part) <= 255 for part in quad.groups())


def comparable(address: str) -> str:
    """Return what an accepted mailbox has in common with its other spellings.

    Case and Unicode's compositions never matter here (see `policy`), quotes are not part of what
    they quote (RFC 5322 3.2.4), and a domain's U-labels are its A-labels (RFC 5890 2.3.2.1).
    """
    if address.isascii() and not address.startswith('"'):
        return address.lower()
    folded = normalize("NFC", normalize("NFC", address).lower())
    local, at, domain = folded.rpartition("@")
    if local.startswith('"'):
        local = _PAIR.sub(r"\1", local[1:-1])
    return local + at + ".".join(map(_a_label, domain.split(".")))


def _a_label(label: str) -> str:
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
