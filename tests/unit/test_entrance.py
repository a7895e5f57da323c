"""Coming in: admission before and after handshakes, PROXY headers, implicit TLS."""

import asyncio
import ipaddress
import ssl
import struct

import pytest

from prixfixe.connection import connection
from prixfixe.mail.message import trace_headers
from tests.conftest import PATIENCE, until

START = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 25\r\n"
TRUSTED = {"SMTP_PROXY_PROTOCOL": "127.0.0.0/8"}
IMPLICIT = {"SMTP_TLS_CERT": "self-signed", "SMTP_TLS_PORT": "0"}


def v2(source, *, command=1, family=1, extra=b""):
    """Return a PROXY v2 header that names a client."""
    if family == 3:
        block = str(source).encode().ljust(108, b"\0") + bytes(108)
    else:
        address = ipaddress.ip_address(source).packed
        block = address + address + struct.pack("!HH", 5555, 25)
    block += extra
    start = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, family << 4 | 1])
    return start + struct.pack("!H", len(block)) + block


def trusting():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class TlsClient:
    """TLS by hand over a wire, so that octets can be sent before and with the ClientHello."""

    def __init__(self, wire):
        self.wire = wire
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting().wrap_bio(self.incoming, self.outgoing)

    def hello(self):
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    async def _drive(self, step):
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                result = None
            self.wire.writer.write(self.outgoing.read())
            if result is not None:
                return result
            octets = await asyncio.wait_for(self.wire.reader.read(65536), PATIENCE)
            assert octets, "the server closed"
            self.incoming.write(octets)

    async def shake_hands(self):
        await self._drive(lambda: self.tls.do_handshake() or True)

    async def say(self, octets):
        await self._drive(lambda: self.tls.write(octets))

    async def read(self):
        return await self._drive(lambda: self.tls.read(65536))


def smtps(running):
    return int(running.bound.smtps.rpartition(":")[2])


def counted(running, name, *labels):
    return running.server.metrics.series()[name].counts[labels]


async def test_a_handshake_under_way_takes_a_place(start):
    running = await start(SMTP_MAX_CONNECTIONS="1", **IMPLICIT)
    silent = await running.connect(greet=False, port=smtps(running))
    await until(lambda: running.server.admission.connections)
    assert running.server.metrics.active == {"smtp": 0, "smtps": 1}
    other = await running.connect(greet=False)
    assert (await other.rest()).startswith(b"421 4.3.2")
    silent.close()
    await until(lambda: not running.server.roster.connections)
    assert running.server.metrics.active == {"smtp": 0, "smtps": 0}
    await running.connect()


async def test_a_refused_client_of_implicit_tls_is_told_why_inside(start):
    running = await start(SMTP_MAX_CONNECTIONS="1", **IMPLICIT)
    await running.connect()
    wire = await running.connect(greet=False, port=smtps(running))
    client = TlsClient(wire)
    await client.shake_hands()
    assert (await client.read()).startswith(b"421 4.3.2")
    await until(lambda: not running.server.roster.explained)
    assert counted(running, "smtp_connections", "smtps", "over_limit") == 1


async def test_a_refused_client_behind_proxy_is_told_why_inside_tls(start):
    running = await start(SMTP_MAX_CONNECTIONS="1", SMTP_PROXY_PROTOCOL="127.0.0.0/8", **IMPLICIT)
    await running.connect(greet=False)
    await until(lambda: running.server.admission.connections == 1)
    wire = await running.connect(greet=False, port=smtps(running))
    await wire.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 465\r\n")
    client = TlsClient(wire)
    await client.shake_hands()
    assert (await client.read()).startswith(b"421 4.3.2")
    await until(lambda: not running.server.roster.explained)


async def test_refused_handshakes_are_bounded(start, monkeypatch):
    monkeypatch.setattr(connection, "MAX_EXPLAINED", 2)
    running = await start(SMTP_MAX_CONNECTIONS="1", **IMPLICIT)
    await running.connect()
    silent = [await running.connect(greet=False, port=smtps(running)) for _ in range(2)]
    await until(lambda: running.server.roster.explained == 2)
    third = await running.connect(greet=False, port=smtps(running))
    assert await third.is_cut()
    for wire in silent:
        wire.close()
    await until(lambda: not running.server.roster.explained)


async def test_a_refused_client_that_never_shakes_hands_is_dropped(start, monkeypatch):
    monkeypatch.setattr(connection, "EXPLAINING_SECONDS", 0.2)
    running = await start(SMTP_MAX_CONNECTIONS="1", **IMPLICIT)
    await running.connect()
    silent = await running.connect(greet=False, port=smtps(running))
    assert await silent.is_cut()
    await until(lambda: not running.server.roster.explained)


async def test_a_stalled_implicit_handshake_is_dropped_and_counted(start):
    running = await start(SMTP_TIMEOUT="100", **IMPLICIT)
    wire = await running.connect(greet=False, port=smtps(running))
    await wire.send(TlsClient(wire).hello()[:20])
    await until(lambda: counted(running, "smtp_connections", "smtps", "accepted"))
    running.later(101)
    assert await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    assert counted(running, "tls_handshakes", "implicit", "none", "error") == 1


async def test_a_client_that_leaves_with_its_hello_gives_its_place_back_at_once(start):
    running = await start(**IMPLICIT)
    wire = await running.connect(greet=False, port=smtps(running))
    wire.writer.write(TlsClient(wire).hello()[:50])
    wire.writer.write_eof()
    await until(lambda: counted(running, "smtp_connections", "smtps", "accepted"))
    await until(lambda: not running.server.roster.connections)


async def test_drain_cuts_handshakes_and_headers_that_are_under_way(start):
    running = await start(SMTP_SHUTDOWN_TIMEOUT="30", **IMPLICIT, **TRUSTED)
    plain, implicit = (
        await running.connect(greet=False),
        await running.connect(greet=False, port=smtps(running)),
    )
    await until(lambda: len(running.server.roster.connections) == 2)
    await implicit.send(V1)
    await until(lambda: counted(running, "smtp_connections", "smtps", "accepted"))
    await running.server.stop()
    assert await plain.is_cut()
    assert await implicit.is_cut()


async def test_clear_text_on_the_implicit_port_is_refused(start):
    running = await start(**IMPLICIT)
    wire = await running.connect(greet=False, port=smtps(running))
    await wire.send(b"EHLO c.test\r\n" + START)
    assert await wire.is_cut()
    assert running.messages == []


# --- PROXY


HEADERS = {
    "v1": (V1, "192.0.2.7:5555"),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 25\r\n", "[2001:db8::7]:5555"),
    "v2": (v2("192.0.2.7"), "192.0.2.7:5555"),
    "v2 IPv6": (v2("2001:db8::7", family=2), "[2001:db8::7]:5555"),
    "v2 with TLV": (v2("192.0.2.7", extra=b"\x04\0\x05hello"), "192.0.2.7:5555"),
}


async def deliver(client, listener):
    """Send one message and QUIT; return all answers."""
    await client.say(b"EHLO c.test\r\n" + START + b"x\r\n.\r\nQUIT\r\n")
    answers = b""
    while b"\r\n221 " not in answers:
        answers += await client.read()
    return answers


@pytest.mark.parametrize("cut", ["one segment", "octet by octet", "header alone"])
@pytest.mark.parametrize(("header", "peer"), HEADERS.values(), ids=HEADERS)
async def test_header_before_implicit_tls_names_the_client(start, header, peer, cut):
    running = await start(**IMPLICIT, **TRUSTED)
    wire = await running.connect(greet=False, port=smtps(running))
    client = TlsClient(wire)
    octets = header + client.hello()
    if cut == "octet by octet":
        for octet in octets:
            await wire.send(bytes([octet]))
            await asyncio.sleep(0)
    elif cut == "header alone":
        await wire.send(header)
        await until(lambda: counted(running, "smtp_connections", "smtps", "accepted"))
        await wire.send(octets[len(header) :])
    else:
        await wire.send(octets)
    await client.shake_hands()
    await deliver(client, "smtps")
    envelope = running.messages[0].envelope
    assert (envelope.peer, envelope.protocol) == (peer, "ESMTPS")


@pytest.mark.parametrize(("header", "peer"), HEADERS.values(), ids=HEADERS)
async def test_header_on_the_plain_port_reaches_envelope_log_and_received(start, header, peer):
    running = await start(**TRUSTED)
    wire = await running.connect(greet=False)
    await wire.send(header + b"EHLO c.test\r\n" + START + b"x\r\n.\r\nQUIT\r\n")
    wire.writer.write_eof()
    answers = await wire.rest()
    assert answers.splitlines()[-1].startswith(b"221")
    message = running.messages[0]
    assert message.envelope.peer == peer
    host = peer.rpartition(":")[0].strip("[]")
    assert host in trace_headers(message).decode()
    await until(lambda: not running.server.roster.connections)
    records = running.records()
    assert sum(f'"peer":"{peer}"' in line for line in records) == 3  # began, kept, ended


@pytest.mark.parametrize(
    "header",
    [v2("192.0.2.7", command=0), v2("/run/client", family=3), b"PROXY UNKNOWN\r\n"],
    ids=["LOCAL", "UNIX", "UNKNOWN"],
)
async def test_header_without_an_address_leaves_the_balancer_as_the_peer(start, header):
    running = await start(**TRUSTED)
    wire = await running.connect(greet=False)
    await wire.send(header + b"EHLO c.test\r\n" + START + b"x\r\n.\r\nQUIT\r\n")
    await wire.rest()
    assert running.messages[0].envelope.peer.startswith("127.0.0.1:")


BAD_HEADERS = {
    "none": b"EHLO c.test\r\n",
    "short": b"PRO",
    "wrong address": b"PROXY TCP4 example.com 198.51.100.1 5555 25\r\n",
    "no address": b"PROXY TCP4\r\n",
    "port": b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 25\r\n",
    "mixed families": b"PROXY TCP4 2001:db8::7 198.51.100.1 5555 25\r\n",
    "endless": b"PROXY " + b"x" * 5000,
    "v2 version": v2("192.0.2.7").replace(b"\n\x21", b"\n\x11"),
    "v2 short block": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02ab",
}


@pytest.mark.parametrize("port", ["smtp", "smtps"])
@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
async def test_bad_header_ends_the_connection(start, header, port):
    running = await start(**IMPLICIT, **TRUSTED)
    wire = await running.connect(
        greet=False, port=smtps(running) if port == "smtps" else running.port
    )
    await wire.send(header)
    wire.writer.write_eof()
    if port == "smtp":
        assert (await wire.rest()).startswith(b"421 4.3.2")
    else:
        assert await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    assert counted(running, "smtp_connections", port, "bad_proxy") == 1
    records = [line for line in running.records() if '"connection refused"' in line]
    assert len(records) == 1
    assert '"reason":"bad_proxy"' in records[0]
    assert not any("unexpected" in line for line in running.records())
    assert running.server.admission.connections == 0
    assert running.messages == []


@pytest.mark.parametrize("header", [V1, v2("192.0.2.7")], ids=["v1", "v2"])
async def test_header_from_elsewhere_is_no_header(start, header):
    running = await start(SMTP_PROXY_PROTOCOL="192.0.2.0/24", **IMPLICIT)
    wire = await running.connect()
    await wire.send(header + b"\r\nEHLO c.test\r\n")
    while (await wire.reply())[:1] == b"5":
        pass
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert running.messages[0].envelope.peer.startswith("127.0.0.1:")
    encrypted = await running.connect(greet=False, port=smtps(running))
    await encrypted.send(header)
    assert await encrypted.is_cut()


@pytest.mark.parametrize("port", ["smtp", "smtps"])
async def test_the_real_client_meets_the_limit_of_its_address(start, port):
    running = await start(SMTP_MAX_CONNECTIONS_PER_IP="1", **IMPLICIT, **TRUSTED)
    first = await running.connect(greet=False)
    await first.send(V1)
    assert (await first.reply()).startswith(b"220 ")
    second = await running.connect(
        greet=False, port=smtps(running) if port == "smtps" else running.port
    )
    await second.send(V1)
    if port == "smtp":
        assert (await second.rest()).startswith(b"421 4.7.0")
    else:
        client = TlsClient(second)
        await client.shake_hands()
        assert (await client.read()).startswith(b"421 4.7.0")
    assert counted(running, "smtp_connections", port, "over_ip_limit") == 1
    third = await running.connect(greet=False)
    await third.send(V1.replace(b"192.0.2.7", b"192.0.2.8"))
    assert (await third.reply()).startswith(b"220 ")


REFUSALS = {
    "over_limit": ("SMTP_MAX_CONNECTIONS", b"421 4.3.2 "),
    "over_ip_limit": ("SMTP_MAX_CONNECTIONS_PER_IP", b"421 4.7.0 "),
    "rate_limited": ("SMTP_MAX_CONNECTION_RATE", b"421 4.7.0 "),
}


@pytest.mark.parametrize(("result", "setting", "reply"), [(k, *v) for k, v in REFUSALS.items()])
async def test_who_is_turned_away_is_told_counted_and_logged(start, result, setting, reply):
    running = await start(**{setting: "1"})
    await running.say_hello()
    refused = await running.connect(greet=False)
    peer = "{}:{}".format(*refused.writer.get_extra_info("sockname"))
    assert (await refused.rest()).startswith(reply)
    assert counted(running, "smtp_connections", "smtp", result) == 1
    (record,) = running.logged("connection refused")
    assert (record["reason"], record["listener"]) == (result, "smtp")
    assert record["peer"] == peer


@pytest.mark.parametrize("result", ["over_ip_limit", "rate_limited"])
async def test_clients_of_one_ipv6_network_count_as_one(start, result):
    """A customer has a /64 at the least (RFC 6177), and any address in it."""
    running = await start(**{REFUSALS[result][0]: "1"}, **TRUSTED)

    async def greeting(host):
        wire = await running.connect(greet=False)
        await wire.send(f"PROXY TCP6 {host} 2001:db8:ffff::1 5555 25\r\n".encode())
        return await wire.reply()

    assert (await greeting("2001:db8:0:1::1")).startswith(b"220 ")
    assert (await greeting("2001:db8:0:1:ffff:ffff:ffff:ffff")).startswith(b"421 4.7.0 ")
    assert (await greeting("2001:db8:0:2::1")).startswith(b"220 ")
    (record,) = running.logged("connection refused")
    assert (record["reason"], record["peer"]) == (
        result,
        "[2001:db8:0:1:ffff:ffff:ffff:ffff]:5555",
    )
