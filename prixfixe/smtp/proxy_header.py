"""The PROXY header, version 1 and 2, as a value (haproxy, doc/proxy-protocol.txt).

A header that the specification calls invalid raises `ProxyError`. Checksums are not verified: TCP
has its own, and only trusted networks send headers (2.2.3).
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

__all__ = ["MAX_OCTETS", "ProxyError", "header_client", "header_octets"]

_TEXT_START: Final = b"PROXY"  # of version 1; version 2 begins with another byte
FIXED_OCTETS: Final = 16  # of version 2, before addresses and values
MAX_OCTETS: Final = FIXED_OCTETS + 0xFFFF
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_MAX_TEXT_OCTETS = 107  # section 2.1
_PORT = rb"(0|[1-9][0-9]{0,4})"
_TEXT = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|(TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b)\r\n"
    % (_PORT, _PORT)
)
_VERSION_2, _LOCAL, _PROXY = 0x20, 0, 1
# The size of the addresses in bytes by family and transport; all others are invalid (2.2).
_ADDRESS_OCTETS = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


class ProxyError(ValueError):
    """The bytes are not a valid PROXY header."""


def header_octets(octets: bytes | bytearray) -> int | None:
    """Return the size in bytes of the header at the beginning, or None if it is incomplete.

    Raises:
        ProxyError: no header begins like this.

    """
    if octets.startswith(_TEXT_START[: len(octets)]):
        size = octets.find(b"\n", 0, _MAX_TEXT_OCTETS) + 1
        if not size and len(octets) >= _MAX_TEXT_OCTETS:
            raise ProxyError("no line of version 1")
        return size or None
    if not octets.startswith(_SIGNATURE[: len(octets)]):
        raise ProxyError("no header")
    if len(octets) < FIXED_OCTETS:
        return None
    size = FIXED_OCTETS + int.from_bytes(octets[14:16], "big")
    return size if size <= len(octets) else None


def header_client(header: bytes) -> tuple[str, int] | None:
    """Return address and port of the client that a whole header names, or None for the peer itself.

    An IPv4 address that is mapped into IPv6 is returned as IPv4.

    Raises:
        ProxyError: the header is invalid.

    """
    return _text_client(header) if header.startswith(_TEXT_START) else _binary_client(header)


def _text_client(line: bytes) -> tuple[str, int] | None:
    match = _TEXT.fullmatch(line)
    if match is None or len(line) > _MAX_TEXT_OCTETS:
        raise ProxyError("no line of version 1")
    if match[1] is None:
        return None
    form = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = (form(match[n].decode("ascii")) for n in (2, 3))
    except AddressValueError as error:
        raise ProxyError("no address") from error
    ports = int(match[4]), int(match[5])
    if max(ports) > 0xFFFF:
        raise ProxyError("no port")
    return _plain(source), ports[0]


def _binary_client(header: bytes) -> tuple[str, int] | None:
    command, family = header[12] ^ _VERSION_2, header[13]
    if command == _LOCAL:  # A connection of the balancer itself: the rest is ignored (2.2).
        return None
    size = _ADDRESS_OCTETS.get(family)
    addresses = header[FIXED_OCTETS:]
    if command != _PROXY or size is None or len(addresses) < size:
        raise ProxyError("no header of version 2")
    if not size:  # AF_UNSPEC: the rest has no defined form.
        return None
    _check_values(header, FIXED_OCTETS + size)
    if size == 12:
        return str(IPv4Address(addresses[:4])), int.from_bytes(addresses[8:10], "big")
    if size == 36:
        return _plain(IPv6Address(addresses[:16])), int.from_bytes(addresses[32:34], "big")
    return None  # A UNIX socket has no host and port.


def _plain(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _check_values(header: bytes, at: int) -> None:
    """Check that the type-length-value vectors end exactly where the header ends."""
    while at < len(header):
        start = at + 3
        at = start + int.from_bytes(header[start - 2 : start], "big")
        if start > len(header) or at > len(header):
            raise ProxyError("a value is cut off")
