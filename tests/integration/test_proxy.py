"""PROXY headers in all their forms, from a network that must send one.

The forms are those of the PROXY protocol's specification (haproxy, doc/proxy-protocol.txt): what is
one is followed by the greeting, with or without commands in the same segment; what is none ends
the connection, and nothing behind it runs.
"""

import socket
import struct

import pytest

from tests.conformance.targets import ProcessTarget

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1")
PORTS = struct.pack("!HH", 56324, 25)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + PORTS
UNIX = b"/tmp/a".ljust(108, b"\0") * 2
FULL = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
BATCH = b"EHLO c.test\r\nNOOP\r\nQUIT\r\n"


def binary(family=0x11, addresses=ADDRESSES + PORTS, tlv=b"", command=0x21, size=None):
    size = len(addresses + tlv) if size is None else size
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", size) + addresses + tlv


HEADERS = {
    "v1 IPv4": b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\r\n",
    "v1 IPv6, 104 octets": b"PROXY TCP6 %b %b 65535 65535\r\n" % (FULL, FULL),
    "v1 unknown": b"PROXY UNKNOWN\r\n",
    "v1 unknown, 107 octets": b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (FULL, FULL),
    "v2 IPv4": binary(),
    "v2 IPv6": binary(0x21, SIX),
    "v2 UNIX": binary(0x31, UNIX),
    "v2 local": binary(0, b"", command=0x20),
    "v2 local with addresses": binary(command=0x20),
    "v2 local of no family": binary(0x41, command=0x20),
    "v2 local shorter than its addresses": binary(0x21, b"abc", command=0x20),
    "v2 unspecified": binary(0, b"whatever"),
    "v2 with values": binary(tlv=b"\x04\0\3abc" + b"\x20\0\5\1\0\0\0\0"),
    "v2 with a checksum": binary(tlv=b"\x03\0\4abcd"),
    "v2 with long values": binary(tlv=b"\xe0" + struct.pack("!H", 2000) + b"x" * 2000),
}
WRONG = {
    "none": b"",
    "v1 in small letters": b"proxy tcp4 192.0.2.7 192.0.2.1 56324 25\r\n",
    "v1 ended by LF": b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\n",
    "v1 with two blanks": b"PROXY TCP4  192.0.2.7 192.0.2.1 56324 25\r\n",
    "v1 with a zero in front": b"PROXY TCP4 192.0.2.007 192.0.2.1 56324 25\r\n",
    "v1 port with a zero in front": b"PROXY TCP4 192.0.2.7 192.0.2.1 056324 25\r\n",
    "v1 port too large": b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
    "v1 port with a blank Python forgives": b"PROXY TCP4 192.0.2.7 192.0.2.1 5\t 25\r\n",
    "v1 port with digits Python groups": b"PROXY TCP4 192.0.2.7 192.0.2.1 5_6 25\r\n",
    "v1 ended by CR CR LF": b"PROXY TCP4 192.0.2.7 192.0.2.1 5 25\r\r\n",
    "v1 of another transport": b"PROXY TCPX4 192.0.2.7 192.0.2.1 5 25\r\n",
    "v1 port not ASCII": "PROXY TCP4 192.0.2.7 192.0.2.1 \u0661 25\r\n".encode(),
    "v1 of two families": b"PROXY TCP4 2001:db8::7 192.0.2.1 5 25\r\n",
    "v1 too short": b"PROXY TCP4 192.0.2.7\r\n",
    "v1 with more": b"PROXY TCP4 192.0.2.7 192.0.2.1 5 25 7\r\n",
    "v1 over 107 octets": b"PROXY UNKNOWN " + b"x" * 120 + b"\r\n",
    "v1 of a zone": b"PROXY TCP6 fe80::1%eth0 2001:db8::1 5 25\r\n",
    "v2 of version 1": binary(command=0x11),
    "v2 of no command": binary(command=0x22),
    "v2 of no family": binary(0x41),
    "v2 of a family without a transport": binary(0x10),
    "v2 of a transport without a family": binary(0x01),
    "v2 with half a value": binary(tlv=b"\x04\0\x09abc"),
    "v2 shorter than its addresses": binary(size=5),
    "v2 with another signature": binary().replace(b"QUIT", b"QUIX"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    class Behind(ProcessTarget):
        def settings(self, config):
            return {"SMTP_PROXY_PROTOCOL": "127.0.0.0/8"}

    target = Behind(tmp_path_factory.mktemp("target"))
    yield target.using("D")
    target.close()


def codes(octets):
    return [int(line[:3]) for line in octets.splitlines() if line[3:4] == b" "]


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("by_octet", [False, True], ids=["whole", "octets"])
def test_a_header_is_followed_by_the_greeting(server, header, by_octet):
    with server.connect() as wire:
        wire.send(header, by_octet=by_octet)
        assert wire.reply()[:4] == b"220 "
        assert wire.ask(BATCH, 3) == [250, 250, 221]
    with server.connect() as wire:
        wire.send(header + BATCH, by_octet=by_octet)
        assert codes(wire.rest()) == [220, 250, 250, 221]


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG)
def test_what_is_no_header_ends_the_connection(server, header):
    before = server.runs("EHLO")
    with server.connect() as wire:
        wire.send(header + BATCH)
        assert codes(wire.rest()) == [421]
    assert server.runs("EHLO") == before
