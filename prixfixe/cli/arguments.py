"""Parsers of command-line arguments: addresses, durations, numbers, sizes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["address", "mailbox", "many", "rate", "seconds", "sizes", "url"]

_Value = TypeVar("_Value")


def seconds(text: str) -> float:
    """Parse a duration in seconds."""
    from prixfixe.settings.parse import duration  # `version` reads none

    return _read(duration(0.01), text)


def address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT."""
    return _address(text, "HOST:PORT, such as 127.0.0.1:2525 or [::1]:2525")


def url(text: str) -> tuple[str, int]:
    """Parse http://HOST:PORT; the scheme may be omitted."""
    return _address(text, "http://HOST:PORT, such as http://127.0.0.1:8025")


def _address(text: str, expected: str) -> tuple[str, int]:
    host, colon, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    is_bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    is_port = port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536
    if not colon or "/" in host or is_bare_ipv6 or not is_port:
        raise _wrong(text, expected)
    if not host.isprintable():
        raise _wrong(text, "a host's name or address")
    return host.strip("[]") or "localhost", int(port)


def many(text: str) -> int:
    """Parse a whole number, at least 1."""
    from prixfixe.settings.parse import count

    return _read(count(1), text)


def sizes(text: str) -> tuple[int, ...]:
    """Parse sizes in bytes, comma separated."""
    from prixfixe.settings.parse import size

    return tuple(_read(size(1), part) for part in text.split(","))


def rate(text: str) -> float:
    """Parse a rate per second."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise _wrong(text, "messages a second, above 0")
    return number


def mailbox(text: str) -> str:
    """Parse a mail address; characters that would end the SMTP command early are refused."""
    if not text.isprintable() or any(letter in text for letter in "<> "):
        raise _wrong(text, "an address such as user@example.com")
    return text


def _read(read: Callable[[str], _Value], text: str) -> _Value:
    try:
        return read(text)
    except ValueError as error:
        raise _wrong(text, error) from None


def _wrong(text: str, expected: object) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
