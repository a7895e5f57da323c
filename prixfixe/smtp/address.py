"""The SMTP path grammar of RFC 5321 section 4.1.2, with the Unicode of RFC 6531.

A mailbox is returned exactly as it was sent, or refused with `AddressError`. Nothing is decoded,
unquoted or case-folded, and no mailbox contains a control character.
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
    "MailboxPattern",
    "comparable",
    "is_literal",
    "parse_path",
]

MAX_DOMAIN_OCTETS = 255  # RFC 5321 4.5.3.1.2: the DNS has no longer name
# A local part has no limit of its own (RFC 5321 4.5.3.1). `Return-Path: <…>` must fit into a line
# of RFC 5322.
MAX_PATH_OCTETS = 980
MAX_LABEL_OCTETS = 63  # RFC 1035 2.3.4

# Non-ASCII without C1 controls, line and paragraph separators, surrogates (RFC 6531 3.3).
NON_ASCII = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
_ATEXT = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{NON_ASCII}-]"
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
# qtextSMTP is printable ASCII but for the quote and the backslash; a pair quotes any of it.
_QUOTED = rf'"(?:[ !#-\[\]-~{NON_ASCII}]|\\[ -~])*"'
_ALNUM_ = rf"[A-Za-z0-9_{NON_ASCII}]"  # real hosts have underscores in their names
_LABEL = rf"{_ALNUM_}(?:[A-Za-z0-9_{NON_ASCII}-]*{_ALNUM_})?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[0-9A-Za-z:.]+\]"

_ASCII_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ASCII_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
PLAIN_PATH = rf"<({_ASCII_ATEXT}(?:\.{_ASCII_ATEXT})*@{_ASCII_LABEL}(?:\.{_ASCII_LABEL})*)>"
MAX_PLAIN_OCTETS = MAX_LABEL_OCTETS  # no part of a path this short can be too long
_PLAIN = re.compile(PLAIN_PATH)


@cache
def _grammar() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compile source route and mailbox on first use: their Unicode classes take 40 ms."""
    route = re.compile(rf"@{_NAME}(?:,@{_NAME})*:")
    return route, re.compile(rf"({_DOT_STRING}|{_QUOTED})@({_NAME}|{_LITERAL})")


_IPV4 = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_PAIR = re.compile(r"\\(.)")
_UNSAFE_SPACE = re.compile(r"[\u1680\u2000-\u200a\u202f\u205f\u3000\ufeff\u00a0]")


class AddressError(ValueError):
    """The text is not a path of RFC 5321 section 4.1.2."""


def parse_path(text: str) -> tuple[str, str]:
    """Split `<mailbox>rest` into the mailbox as sent and the rest.

    The mailbox is "" for `<>`. Only `<postmaster>`, in any case, needs no domain (RFC 5321 section
    4.5.1). A source route is dropped (RFC 5321 appendix C).

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
    octets = -1
    for label in domain.split("."):
        octets += _label_octets(label) + 1
        if octets > MAX_DOMAIN_OCTETS:
            raise AddressError("domain too long")


def _label_octets(label: str) -> int:
    """Return a label's length in bytes as an A-label, its form in the DNS (RFC 5890 2.3.2.1)."""
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
    """Return the form in which all spellings of an accepted mailbox are equal.

    Case and Unicode composition are ignored. The quotes of a local part are removed (RFC 5322
    3.2.4). The U-labels of a domain become A-labels (RFC 5890 2.3.2.1).
    """
    if address.isascii() and not address.startswith('"'):
        return address.lower()
    local, at, domain = _parts(address)
    return local + at + ".".join(map(_a_label, domain.split(".")))


def _parts(address: str) -> tuple[str, str, str]:
    """Return local part, `@` and domain as they are compared, the domain with its U-labels."""
    if address.isascii() and not address.startswith('"'):
        return address.lower().rpartition("@")
    local, at, domain = normalize("NFC", normalize("NFC", address).lower()).rpartition("@")
    if local.startswith('"'):
        local = _PAIR.sub(r"\1", local[1:-1])
    return local, at, domain


def _a_label(label: str) -> str:
    """Return the A-label of a label, and one of ASCII or of too many characters as it is.

    An A-label has a byte for each character and more, and encoding takes quadratic time.
    """
    if label.isascii() or len(label) > MAX_LABEL_OCTETS:
        return label
    return "xn--" + _punycode(label)


def _punycode(label: str) -> str:
    return label.encode("punycode").decode("ascii")


def _u_label(label: str) -> str | None:
    """Return the text that is encoded as this A-label, or None if there is none."""
    if len(label) > MAX_LABEL_OCTETS:
        return None
    try:
        text = label.removeprefix("xn--").encode("ascii").decode("punycode")
    except UnicodeError:
        return None
    return text if _a_label(text) == label else None


class MailboxPattern:
    """An address, or `@` and a domain, to compare with many accepted mailboxes.

    An address matches if its `comparable` form is the pattern's, or ends with it. No address is
    encoded: the pattern is decoded instead, once.
    """

    __slots__ = ("_domain", "_forms", "_local")

    def __init__(self, text: str) -> None:
        local, at, self._domain = comparable(text).rpartition("@")
        self._local: str | None = None if at and not local else local
        self._forms = [(one, _u_label(one)) for one in self._domain.split(".")]

    def matches(self, address: str) -> bool:
        """Whether an address is that mailbox, or one of that domain."""
        local, _, domain = _parts(address)
        return (self._local is None or local == self._local) and self._is_domain(domain)

    def _is_domain(self, domain: str) -> bool:
        if domain.isascii():
            return domain == self._domain
        labels = domain.split(".")
        return len(labels) == len(self._forms) and all(map(tuple.__contains__, self._forms, labels))
