"""PROXY headers as values: whom they name, and that nothing else comes of any octets.

The whole headers and the broken ones are played on a server in `tests/integration/test_proxy.py`.
"""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.smtp.proxy_header import (
    FIXED_OCTETS,
    MAX_OCTETS,
    ProxyError,
    header_client,
    header_octets,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PORTS = struct.pack("!HH", 56324, 25)
FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + PORTS
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + PORTS
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7") * 2 + PORTS


def binary(family, rest, command=0x21):
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(rest)) + rest


NAMED = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.7 192.0.2.1 5 25\r\n", ("192.0.2.7", 5)),
    "v1 port 0": (b"PROXY TCP4 192.0.2.7 192.0.2.1 0 25\r\n", ("192.0.2.7", 0)),
    "v1 IPv6": (b"PROXY TCP6 2001:DB8::7 2001:db8::1 5 25\r\n", ("2001:db8::7", 5)),
    "v1 IPv4 as IPv6": (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 5 25\r\n", ("192.0.2.7", 5)),
    "v1 unknown": (b"PROXY UNKNOWN 1 2 3 4 5\r\n", None),
    "v2 IPv4": (binary(0x11, FOUR), ("192.0.2.7", 56324)),
    "v2 IPv6": (binary(0x21, SIX), ("2001:db8::7", 56324)),
    "v2 IPv4 as IPv6": (binary(0x21, MAPPED), ("192.0.2.7", 56324)),
    "v2 UNIX": (binary(0x31, b"/tmp/a".ljust(216, b"\0")), None),
    "v2 local": (binary(0x11, FOUR, command=0x20), None),
    "v2 unspecified": (binary(0, b"\4"), None),
    # As `proxy-v2-options crc32c` of HAProxy sends it; it is not verified.
    "v2 checksum": (binary(0x11, FOUR + b"\3\0\4" + b"any4"), ("192.0.2.7", 56324)),
}


@pytest.mark.parametrize(("header", "client"), NAMED.values(), ids=NAMED)
def test_a_header_names_the_client(header, client):
    assert header_client(header) == client


@pytest.mark.parametrize("at", range(12))
def test_a_signature_is_known_by_every_octet(at):
    header = bytearray(binary(0x11, FOUR))
    header[at] ^= 1
    for end in (at + 1, FIXED_OCTETS, len(header)):
        with pytest.raises(ProxyError):
            header_octets(header[:end])


@pytest.mark.parametrize(("header", "client"), NAMED.values(), ids=NAMED)
def test_a_header_ends_where_it_says_whatever_follows(header, client):
    for end in range(len(header)):
        assert header_octets(header[:end]) is None
    assert header_octets(header) == header_octets(header + b"EHLO c.test\r\n") == len(header)


@pytest.mark.parametrize(
    "octets", [b"EHLO", b"PROXI", b"PROXY " + b"x" * 101, b"\r\n\r\n\0\r\nQUIT\r"], ids=repr
)
def test_what_can_be_no_header_is_not_waited_for(octets):
    with pytest.raises(ProxyError):
        header_octets(octets)


def test_no_header_is_longer_than_the_longest():
    header = binary(0, bytes(0xFFFF))
    assert header_octets(header) == len(header) == MAX_OCTETS


TEXTS = st.lists(
    st.sampled_from(
        ["PROXY", "TCP4", "TCP6", "UNKNOWN", "192.0.2.7", "::1", "5", "65536", "0", "", "\r"]
    )
).map(lambda words: " ".join(words).encode() + b"\r\n")


@given(st.one_of(st.binary().map(lambda rest: b"PROXY" + rest), TEXTS.map(lambda t: b"PROXY " + t)))
def test_no_text_does_more_than_be_refused(header):
    try:
        assert header_client(header) is None or header.startswith(b"PROXY TCP")
    except ProxyError:
        pass


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300))
def test_no_binary_header_does_more_than_be_refused(command, family, rest):
    try:
        assert header_client(binary(family, rest, command)) is None or command == 0x21
    except ProxyError:
        assert command != 0x20
