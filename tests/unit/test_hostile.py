"""What hostile clients did to the server once, each with the class of fault behind it."""

import asyncio
import os
import socket
import struct

import pytest

from prixfixe.connection import connection
from tests.conftest import until
from tests.unit.test_connection import START, client_context

HELLO = b"EHLO c.test\r\n"


# --- STARTTLS: what was sent in clear is never heard inside TLS (RFC 3207 section 4.2)


@pytest.fixture
def clear_text_before_tls(monkeypatch):
    """Let octets come in clear at the last moment before TLS takes the connection over."""
    shake_hands = connection.shake_hands

    async def late(transport, protocol, *rest):
        protocol.data_received(b"VRFY injected\r\n")
        return await shake_hands(transport, protocol, *rest)

    monkeypatch.setattr(connection, "shake_hands", late)


@pytest.mark.usefixtures("clear_text_before_tls")
async def test_commands_that_come_while_tls_takes_over_are_dropped(start):
    running = await start(SMTP_TLS_CERT="self-signed")
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\n") == [220]
    await wire.writer.start_tls(client_context())
    assert await wire.ask(b"NOOP\r\n") == [250]
    assert await wire.ask(b"EHLO c.test\r\n") == [250]
    wire.close()


async def test_nothing_is_read_in_clear_after_starttls_however_much_came_before(start, monkeypatch):
    running = await start(SMTP_TLS_CERT="self-signed")
    gate, states = asyncio.Event(), []

    async def watched(transport, protocol, *_):
        while not gate.is_set():
            protocol.pump()  # as one that was due already
            states.append(transport.is_reading())
            await asyncio.sleep(0)
        raise ConnectionResetError

    monkeypatch.setattr(connection, "shake_hands", watched)
    wire = await running.connect()
    # So much that reading was paused for the flow, and would be resumed once it is worked on.
    await wire.send(HELLO + b"NOOP\r\n" * 70 + b"STARTTLS\r\n" + b"z" * 200_000)
    await until(lambda: len(states) > 100)
    gate.set()
    wire.close()
    assert not any(states)


@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"EHLO c.test\r\n" + START, b"\0", b"NOOP\r"])
async def test_a_client_that_pipelines_behind_starttls_is_not_left_hanging(
    start, monkeypatch, behind
):
    monkeypatch.setattr(connection, "JUMPED_SECONDS", 0.2)
    running = await start(SMTP_TLS_CERT="self-signed")
    wire = await running.say_hello()
    await wire.send(b"STARTTLS\r\n" + behind)
    assert await wire.ask(b"") == [220]
    assert await wire.rest() == b""
    await until(lambda: not running.server.roster.connections)


async def test_a_client_that_pipelines_behind_starttls_may_still_shake_hands(start):
    assert connection.JUMPED_SECONDS <= 5
    running = await start(SMTP_TLS_CERT="self-signed")
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\nNOOP\r\n") == [220]
    await wire.writer.start_tls(client_context())
    assert await wire.ask(b"EHLO c.test\r\n") == [250]
    wire.close()


async def test_chunks_before_starttls_give_their_memory_back(start):
    running = await start(SMTP_TLS_CERT="self-signed")
    budget = running.server.budget
    for _ in range(3):
        wire = await running.say_hello()
        await wire.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 500000\r\n" + b"x" * 500_000)
        assert await wire.ask(b"", 3) == [250, 250, 250]
        assert budget.in_use > 0
        assert await wire.ask(b"STARTTLS\r\n") == [220]
        assert budget.in_use == 0
        wire.close()
    await until(lambda: not running.server.roster.connections)
    assert budget.in_use == 0


# --- who leaves before the server looks


def leave_at_once(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 25\r\n"


@pytest.mark.parametrize(
    ("networks", "header"),
    [("", b""), ("192.0.2.0/24", b""), ("127.0.0.0/8", HEADER)],
    ids=["no PROXY", "PROXY for others", "PROXY"],
)
async def test_those_who_reset_before_they_are_asked_leave_nothing_open(start, networks, header):
    running = await start(SMTP_PROXY_PROTOCOL=networks)
    before = descriptors()
    for _ in range(200):
        leave_at_once(running.port)
    wire = await running.connect(greet=False)
    await wire.send(header)
    assert await wire.ask(b"") == [220]  # and those before it were looked at
    await until(lambda: len(running.server.roster.connections) == 1)
    await until(lambda: descriptors() <= before + 5)
    assert not any("Traceback" in record or "unexpected" in record for record in running.records())


async def test_a_defect_at_the_door_closes_that_connection_and_says_so(start, monkeypatch):
    running = await start()
    monkeypatch.setattr(connection, "expects_header", lambda *_: 1 / 0)
    wire = await running.connect(greet=False)
    assert await wire.is_cut()
    assert any("ZeroDivisionError" in record for record in running.records())
    monkeypatch.undo()
    wire = await running.say_hello()
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]


# --- one at its own limit


async def test_a_message_refused_at_the_last_error_is_counted_once(start):
    running = await start(SMTP_MAX_ERRORS="1")
    wire = await running.say_hello()
    assert await wire.ask(START + b"bare\nline\r\n.\r\n", 4) == [250, 250, 354, 550]
    assert await wire.ask(b"") == [421]
    counts = running.server.metrics.series()["messages"].counts
    assert [(key, number) for key, number in counts.items() if number] == [
        (("smtp", "rejected", "bare_lf"), 1)
    ]
