"""Flow control: whatever takes the octets, and however fast they come, few are kept.

Each client floods from a thread of its own, so that what it sends is there before it is read.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading

import pytest

from prixfixe.connection import connection as connections
from prixfixe.connection.arrival import Arrival
from prixfixe.connection.connection import SLICE_SECONDS, Connection
from prixfixe.connection.flow import (
    BULK_OCTETS,
    PAUSE_EARLY_OCTETS,
    PAUSE_OCTETS,
    TLS_BUFFER_OCTETS,
)
from prixfixe.limits.memory import Budget
from prixfixe.smtp.session import STEP
from tests.conftest import until
from tests.unit.test_connection import START, client_context

READ_OCTETS = 256_000  # of uvloop, which reads up to 32 times an event
FLOOD_OCTETS = 16 * 2**20
NOOP = b"NOOP " + b"x" * 400 + b"\r\n"
EHLO = b"EHLO c.test\r\n"
TRUSTED = {"SMTP_PROXY_PROTOCOL": "127.0.0.0/8"}
LONGEST_HEADER = b"\r\n\r\n\0\r\nQUIT\n\x20\x00" + struct.pack("!H", 0xFFFF) + bytes(0xFFFF)


class Most:
    """The most octets that a connection kept after a read: of input, and of replies."""

    def __init__(self, connection_class, monkeypatch):
        self.input = self.early = self.output = self.reads = 0
        received, flush = connection_class.data_received, connection_class.flush

        def noting_input(connection, data):
            received(connection, data)
            self.reads += 1
            self.early = max(self.early, len(connection._arrival or b""))
            self.input = max(self.input, connection.session.buffered)

        def noting_output(connection):
            replies = sum(map(len, connection.session.output))
            flush(connection)
            if connection._flow.transport is not None:
                replies += connection._flow.transport.get_write_buffer_size()
            self.output = max(self.output, replies)

        monkeypatch.setattr(connection_class, "data_received", noting_input)
        monkeypatch.setattr(connection_class, "flush", noting_output)


@pytest.fixture
def most(monkeypatch):
    return Most(Connection, monkeypatch)


def send_all(sock, first, octets):
    """Send until all is sent, or the server ends it or reads no more."""
    with contextlib.suppress(OSError):
        sock.sendall(first)
        for _ in range(FLOOD_OCTETS // len(octets)):
            sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)


def read_all(sock):
    try:
        while sock.recv(1 << 18):
            pass
    except OSError:
        pass


def flood(port, first, octets, *, is_reading, wrap=None):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(1)  # for a server that stopped reading
        with wrap(sock) if wrap else sock as to:
            reader = threading.Thread(target=read_all, args=(to,))
            if is_reading:
                reader.start()
            send_all(to, first, octets * (65536 // len(octets)))
            if is_reading:
                reader.join()


async def test_pipelined_commands(start, most):
    running = await start()
    await asyncio.to_thread(flood, running.port, b"", NOOP, is_reading=True)
    assert most.reads > FLOOD_OCTETS // READ_OCTETS
    assert most.input <= PAUSE_OCTETS + READ_OCTETS
    assert most.output <= 2 * 65536
    await until(lambda: not running.server.roster.connections)


async def test_commands_whose_replies_nobody_reads(start, most):
    running = await start()
    await asyncio.to_thread(flood, running.port, b"", EHLO, is_reading=False)
    assert most.input <= PAUSE_OCTETS + READ_OCTETS
    assert 0 < most.output <= 2 * 65536


def starttls(sock):
    """Go into TLS by hand."""
    sock.sendall(b"STARTTLS\r\n")
    seen = b""
    while b"\r\n220 " not in seen:
        seen += sock.recv(1024)
    return client_context().wrap_socket(sock)


@pytest.mark.parametrize("octets", [NOOP, EHLO], ids=["NOOP", "EHLO"])
async def test_commands_inside_tls(start, most, octets):
    running = await start(SMTP_TLS_CERT="self-signed")
    await asyncio.to_thread(flood, running.port, b"", octets, is_reading=False, wrap=starttls)
    assert most.input <= PAUSE_OCTETS + READ_OCTETS + TLS_BUFFER_OCTETS
    assert 0 < most.output <= 2 * 65536


async def test_a_body_that_waits_for_memory(start, most, monkeypatch):
    monkeypatch.setattr(Budget, "request", lambda *_: False)
    running = await start()
    first = EHLO + START
    await asyncio.to_thread(flood, running.port, first, b"x" * 1000 + b"\r\n", is_reading=False)
    assert 0 < most.input <= PAUSE_OCTETS + READ_OCTETS


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (b"", {"SMTP_TLS_CERT": "self-signed", "SMTP_TLS_PORT": "0"}),
        (LONGEST_HEADER, TRUSTED),
        (LONGEST_HEADER, {"SMTP_TLS_CERT": "self-signed", "SMTP_TLS_PORT": "0", **TRUSTED}),
    ],
    ids=["TLS", "PROXY", "PROXY and TLS"],
)
async def test_octets_ahead_of_the_greeting(start, most, header, chosen):
    running = await start(**chosen)
    name = running.bound.smtps or running.bound.smtp
    port = int(name.rpartition(":")[2])
    await asyncio.to_thread(flood, port, header, NOOP, is_reading=True)
    assert most.reads or not header
    assert most.early <= PAUSE_EARLY_OCTETS + READ_OCTETS
    assert most.input <= PAUSE_OCTETS + READ_OCTETS + PAUSE_EARLY_OCTETS


async def test_a_client_of_one_octet_at_a_time_is_heard(start):
    running = await start()
    wire = await running.connect()
    for octet in b"EHLO c.test\r\nQUIT\r\n":
        await wire.send(bytes([octet]))
    assert (await wire.rest()).endswith(b"221 2.0.0 Bye\r\n")


def one_event(connection, octets):
    """Give a connection what one event of uvloop may: 32 reads, unless it pauses meanwhile."""
    for _ in range(32):
        if not connection._flow.transport.is_reading():
            return
        connection.data_received(octets)


async def only_session(running):
    await until(lambda: running.server.roster.connections)
    (connection,) = running.server.roster.connections
    return connection


@pytest.mark.parametrize("read", [NOOP, EHLO * 5000], ids=["small", "large"])
async def test_reads_of_one_event_while_work_is_scheduled(start, read):
    running = await start()
    await running.connect()
    connection = await only_session(running)
    connection.data_received(b"NOOP\r\n" * 100)
    assert connection._is_scheduled
    assert connection._flow.transport.is_reading()
    for _ in range(100):
        one_event(connection, read)
    assert connection.session.buffered <= PAUSE_OCTETS + len(read)


async def test_reads_of_one_event_before_a_handshake(start):
    running = await start(SMTP_TLS_CERT="self-signed")
    await running.connect()
    connection = await only_session(running)
    connection._arrival = Arrival()
    one_event(connection, bytes(READ_OCTETS))
    assert len(connection._arrival) <= PAUSE_EARLY_OCTETS + READ_OCTETS


async def test_a_read_that_is_large_lets_others_have_their_turn(start):
    running = await start()
    wire = await running.connect()
    await wire.ask(EHLO + START, 4)
    connection = await only_session(running)
    connection.data_received(b"x" * BULK_OCTETS)
    assert not connection._flow.transport.is_reading()
    await until(connection._flow.transport.is_reading)
    await wire.send(b"\r\n.\r\n")
    assert (await wire.reply()).startswith(b"250 ")


async def test_a_slice_of_dear_commands_ends_by_the_clock(start, monkeypatch):
    running = await start()
    wire = await running.connect()
    connection = await only_session(running)
    clock = itertools.count(1, SLICE_SECONDS * 1.01)
    with monkeypatch.context() as slow:
        slow.setattr(connections, "perf_counter", lambda: next(clock))
        connection.data_received(b"NOOP\r\n" * 60)
        assert connection._is_scheduled
        assert 60 * 6 - connection.session.buffered <= 2 * STEP * 6
    assert await wire.ask(b"", 60) == [250] * 60
