"""Parsers of setting values: each returns a value or raises `ValueError`.

The text of the error completes the sentence "expected …".
"""

from __future__ import annotations

import re
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import TYPE_CHECKING

from prixfixe.stores.registry import forms, named

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Network",
    "bind",
    "boolean",
    "choice",
    "count",
    "domain",
    "duration",
    "networks",
    "optional_choice",
    "optional_port",
    "optional_text",
    "port",
    "recipients",
    "size",
    "store_url",
    "token",
]

Network = IPv4Network | IPv6Network

_SIZE = re.compile(r"(\d{1,18}) ?([KMGTPE]i?B|B)?", re.IGNORECASE | re.ASCII)
_HANDLER = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_SIZE_UNITS = {"": 1, "b": 1} | {
    f"{letter}{infix}b": base**power
    for power, letter in enumerate("kmgtpe", 1)
    for infix, base in (("", 1000), ("i", 1024))
}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h|d)?", re.ASCII)
_DURATION_UNITS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_WORDS = {"1": True, "true": True, "yes": True, "on": True}
_WORDS |= {"0": False, "false": False, "no": False, "off": False, "": False}
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
# File systems, SQLite and statvfs use 64 bits; this leaves room for sums.
_MAX_OCTETS = 2**60
# A century; timers count milliseconds.
_MAX_SECONDS = 36500 * 86400.0
_TOKEN = re.compile(r"[!-~]+")


def size(least: int) -> Callable[[str], int]:
    """Return a parser of sizes in bytes: `1048576`, `10MiB`, `25MB`."""

    def read(text: str) -> int:
        match = _SIZE.fullmatch(text.strip())
        octets = -1
        if match is not None:
            octets = int(match.group(1)) * _SIZE_UNITS[(match.group(2) or "").lower()]
        if octets < least:
            raise ValueError(f"octets or a size such as 10MiB or 25MB, at least {least}")
        if octets > _MAX_OCTETS:
            raise ValueError("a size of at most 1EiB")
        return octets

    return read


def duration(least: float) -> Callable[[str], float]:
    """Return a parser of durations in seconds: `300`, `1.5`, `30s`, `5m`, `7d`."""

    def read(text: str) -> float:
        match = _DURATION.fullmatch(text.strip())
        seconds = -1.0
        if match is not None:
            seconds = float(match.group(1)) * _DURATION_UNITS[match.group(2)]
        if seconds < least:
            raise ValueError(f"seconds or a duration such as 30s or 5m, at least {least:g}")
        if seconds > _MAX_SECONDS:
            raise ValueError("a duration of at most 36500d")
        return seconds

    return read


def count(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers."""

    def read(text: str) -> int:
        number = int(text) if _COUNT.fullmatch(text.strip()) else -1
        if number < least:
            raise ValueError(f"a whole number, at least {least}")
        return number

    return read


def boolean(text: str) -> bool:
    """Parse true, yes, on, 1, or false, no, off, 0 and nothing."""
    word = _WORDS.get(text.strip().lower())
    if word is None:
        raise ValueError("true or false")
    return word


def choice(*words: str) -> Callable[[str], str]:
    """Return a parser of one of these words, in any case."""

    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return word

    return read


def optional_choice(*words: str) -> Callable[[str], str | None]:
    """Return a parser of one of these words; nothing is None."""
    read = choice(*words)
    return lambda text: read(text) if text.strip() else None


def optional_text(text: str) -> str | None:
    """Parse any text; nothing is None."""
    return text.strip() or None


def handler(text: str) -> str | None:
    """Parse `package.module:Class`; nothing is None."""
    if text and _HANDLER.fullmatch(text) is None:
        raise ValueError("package.module:Class")
    return text or None


def token(text: str) -> str | None:
    """Parse a bearer token: printable ASCII without spaces, a superset of RFC 6750 section 2.1."""
    if text and not _TOKEN.fullmatch(text):
        raise ValueError("printable ASCII without spaces")
    return text or None


def port(text: str) -> int:
    """Parse a TCP port; 0 is any free one."""
    if text.startswith("tcp://"):
        # Kubernetes sets NAME_PORT in every pod for a Service of that name, such as `smtp`.
        raise ValueError("a port from 0 to 65535; in Kubernetes set enableServiceLinks: false")
    number = int(text) if _COUNT.fullmatch(text.strip()) else -1
    if not 0 <= number <= 65535:
        raise ValueError("a port from 0 to 65535")
    return number


def optional_port(text: str) -> int | None:
    """Parse a port or `off`, which is None."""
    if text.strip().lower() == "off":
        return None
    try:
        return port(text)
    except ValueError as error:
        raise ValueError(f"off or {error}") from None


def bind(text: str) -> str:
    """Parse an IP address to listen on; "" is all addresses."""
    address = text.strip().strip("[]")
    if address in ("", "*"):
        return ""
    if address == "localhost":
        return "127.0.0.1"
    for kind in (IPv4Address, IPv6Address):
        try:
            return str(kind(address))
        except AddressValueError:
            continue
    raise ValueError("an IP address such as 127.0.0.1 or ::1, or nothing for all")


def domain(text: str) -> str:
    """Parse a host name or an address literal."""
    name = text.strip()
    if _DOMAIN.fullmatch(name) or _is_literal(name):
        return name
    raise ValueError("a host name such as mail.example.com or an address literal")


def hosts(text: str) -> tuple[str, ...]:
    """Parse host names; they are lower-cased and lose a final dot."""
    entries = _list(text)
    for entry in entries:
        if not _DOMAIN.fullmatch(entry.removesuffix(".")):
            message = f"names such as mail.example.com, comma separated, no port, not {entry!r}"
            raise ValueError(message)
    return tuple(entry.removesuffix(".").lower() for entry in entries)


def _is_literal(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")):
        return False
    from prixfixe.smtp.address import is_literal  # slow to import, and a probe does not need it

    return is_literal(text)


def _list(text: str) -> list[str]:
    """Split at commas and, for files, at line ends."""
    return [entry for entry in map(str.strip, re.split(r"[,\n]", text)) if entry]


def recipients(text: str) -> tuple[str, ...]:
    """Parse an allow-list of `@domain` and `user@domain`; it is lower-cased."""
    entries = _list(text)
    for entry in entries:
        if not _is_pattern(entry):
            raise ValueError(f"@example.com or user@example.com, comma separated, not {entry!r}")
    return tuple(entry.lower() for entry in entries)


def _is_pattern(entry: str) -> bool:
    from prixfixe.smtp.address import AddressError, parse_path

    mailbox = f"x{entry}" if entry.startswith("@") else entry
    try:
        address, rest = parse_path(f"<{mailbox}>")
    except AddressError:
        return False
    return address == mailbox and not rest and "@" in address


def networks(text: str) -> tuple[Network, ...]:
    """Parse networks such as 10.0.0.0/8 or ::1."""
    found: list[Network] = []
    for entry in _list(text):
        try:
            found.append(ip_network(entry))
        except ValueError:
            message = f"networks such as 10.0.0.0/8 or fd00::/8, comma separated, not {entry!r}"
            raise ValueError(message) from None
    return tuple(found)


def store_url(text: str) -> str:
    """Parse the URL of a store that is built in or installed."""
    url = text.strip()
    if not url.isprintable():  # it is in the ready line and in errors
        raise ValueError(forms())
    named(url)
    return url
