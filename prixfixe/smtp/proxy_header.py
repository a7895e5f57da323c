"""The PROXY header, version 1 and 2, as a value (haproxy, doc/proxy-protocol.txt).

Owns: how long a header is, whether it is one, and whom it names.
Promises: octets are either refused with `ProxyError` or name a client as it would have named
itself, an IPv4 one never in IPv6's clothes; `None` means the connection's own peer.
Refuses: headers the specification calls invalid; sockets. A checksum among a header's values is not
verified, which the specification leaves to the receiver (2.2.3): TCP carries one, and only networks
that are trusted send headers.

aiosmtpd has a reader, but it takes what `int` takes for a port, any pair of family and transport,
and not every LOCAL.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

__all__ = ["MAX_OCTETS", "ProxyError", "header_client", "header_octets"]

_TEXT_START: Final = b"PROXY"  # how version 1 begins; its first octet tells it from version 2
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
# Family and transport, each with the octets of its addresses; all others are invalid (2.2).
_ADDRESS_OCTETS = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


class ProxyError(ValueError):
    """The octets are no PROXY header."""


def header_octets(octets: bytes | bytearray) -> int | None:
    """Return how many of the octets are the header they begin with; None: it has not all come.

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
    """Return address and port of the client a whole header names, None for the peer itself.

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
    if command == _LOCAL:  # The balancer's own: all else is to be discarded (2.2).
        return None
    size = _ADDRESS_OCTETS.get(family)
    addresses = header[FIXED_OCTETS:]
    if command != _PROXY or size is None or len(addresses) < size:
        raise ProxyError("no header of version 2")
    if not size:  # Of a protocol nobody knows: what follows has no form either.
        return None
    _check_values(header, FIXED_OCTETS + size)
    if size == 12:
        return str(IPv4Address(addresses[:4])), int.from_bytes(addresses[8:10], "big")
    if size == 36:
        return _plain(IPv6Address(addresses[:16])), int.from_bytes(addresses[32:34], "big")
    return None  # UNIX: it has no address that counts.


def _plain(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _check_values(header: bytes, at: int) -> None:
    """Walk the type-length-value vectors: they end where the header does."""
    while at < len(header):
        start = at + 3
        at = start + int.from_bytes(header[start - 2 : start], "big")
        if start > len(header) or at > len(header):
            raise ProxyError("a value is cut off")
