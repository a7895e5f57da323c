"""The limits of one session over real sockets: each by its reply, its metric and its log field."""

import asyncio
import socket
import time

import pytest

from prixfixe.connection import roster
from tests.conftest import until
from tests.unit.test_auth import cheap_hash
from tests.unit.test_connection import START, GatedStore, client_context, reset


def limit_count(running, name):
    return running.server.metrics.series()["smtp_limits"].counts[name,]


def ended(running):
    """Return the records of sessions that ended."""
    return running.logged("session ended")


async def check(running, limit, end=None):
    """One session met this limit: counted, and in its record."""
    await until(lambda: ended(running))
    record = ended(running)[0]
    assert record["limit"] == limit
    assert end is None or record["end"] == end
    assert limit_count(running, limit) == 1
    assert running.server.metrics.series()["metrics_defects"].counts[()] == 0


async def taken(running, wire, octets):
    """Send, and wait until the only session has taken what came."""
    (session,) = running.server.roster.connections
    before = session.session.progress
    await wire.send(octets)
    await until(lambda: session.session.progress > before)


async def test_idle(start):
    running = await start(SMTP_TIMEOUT="0.2")
    wire = await running.connect()
    assert (await wire.rest()).startswith(b"421 4.4.2 Idle")
    await check(running, "timeout", "timeout")


async def test_session_time_closes_between_messages(start):
    running = await start(SMTP_MAX_SESSION_TIME="0.3")
    wire = await running.connect()

    async def chatter():
        while True:
            await wire.send(b"NOOP\r\n")
            await asyncio.sleep(0.02)

    task = asyncio.create_task(chatter())
    answers = await wire.rest()
    task.cancel()
    assert answers.splitlines()[-1].startswith(b"421 4.4.2 The session has lasted too long")
    await check(running, "max_session_time", "timeout")


async def test_session_time_lets_a_message_under_way_be_finished(start):
    running = await start(SMTP_MAX_SESSION_TIME="100")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    running.later(101)
    await wire.send(b"x\r\n.\r\n")
    answers = (await wire.rest()).splitlines()
    assert [line[:3] for line in answers] == [b"250", b"421"]
    assert len(running.messages) == 1
    await check(running, "max_session_time", "timeout")


@pytest.mark.parametrize("data", [b"DATA\r\n", b"BDAT 1000000\r\n"], ids=["DATA", "BDAT"])
async def test_data_that_drips_is_cut(start, data):
    running = await start(SMTP_TIMEOUT="100", SMTP_MIN_DATA_RATE="10")
    wire = await running.say_hello()
    await wire.send(START[:-6] + data)
    for _ in range(2):  # an octet before each deadline
        await taken(running, wire, b"x")
        running.later(60)
    answers = await wire.rest()
    assert answers.splitlines()[-1].startswith(b"421 4.4.2 Data came too slowly")
    assert running.messages == []
    await check(running, "min_data_rate", "timeout")


async def test_data_at_the_rate_goes_on_for_as_long_as_it_takes(start):
    running = await start(SMTP_TIMEOUT="100", SMTP_MIN_DATA_RATE="10")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    for _ in range(10):
        await taken(running, wire, b"x" * 598 + b"\r\n")
        running.later(60)
    assert await wire.ask(b".\r\n") == [250]


async def test_messages(start):
    running = await start(SMTP_MAX_MESSAGES="2")
    wire = await running.say_hello()
    for _ in range(2):
        assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    answers = b""
    await wire.send(START + b"x\r\n.\r\n")
    answers = (await wire.rest()).splitlines()
    assert len(answers) == 1
    assert answers[0].startswith(b"421 4.7.0 Too many messages")
    assert len(running.messages) == 2
    await check(running, "max_messages")
    assert ended(running)[0]["messages"] == 2


async def test_messages_that_were_not_kept_do_not_count(start):
    running = await start(SMTP_MAX_MESSAGES="1")
    wire = await running.say_hello()
    assert await wire.ask(START + b"bare\nline\r\n.\r\n", 4) == [250, 250, 354, 550]
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert await wire.ask(b"QUIT\r\n") == [221]


async def test_errors(start):
    running = await start(SMTP_MAX_ERRORS="3")
    wire = await running.say_hello()
    await wire.send(b"X\r\n" * 3)
    answers = (await wire.rest()).splitlines()
    assert [line[:3] for line in answers] == [b"500"] * 3 + [b"421"]
    await check(running, "max_errors", "error")


async def test_recipients(start):
    running = await start(SMTP_MAX_RECIPIENTS="1")
    wire = await running.say_hello()
    await wire.ask(b"MAIL FROM:<>\r\n")
    assert await wire.ask(b"RCPT TO:<a@b.test>\r\n" * 2, 2) == [250, 452]
    assert await wire.ask(b"QUIT\r\n") == [221]
    await check(running, "max_recipients", "quit")


async def test_message_size(start):
    running = await start(SMTP_MAX_MESSAGE_SIZE="2000")
    wire = await running.say_hello()
    assert await wire.ask(START + b"x" * 3000 + b"\r\n.\r\n", 4) == [250, 250, 354, 552]
    assert await wire.ask(b"QUIT\r\n") == [221]
    await check(running, "max_message_size", "quit")


async def test_memory_that_is_waited_for(start):
    store = GatedStore()
    running = await start(store=store, SMTP_MAX_MESSAGE_SIZE="1MiB", SMTP_MAX_INFLIGHT="1MiB")
    first, second = await running.say_hello(), await running.say_hello()
    body = (b"x" * 998 + b"\r\n") * 1000 + b".\r\n"
    for wire in (first, second):
        assert await wire.ask(START, 3) == [250, 250, 354]
    await first.send(body)
    await store.started.wait()
    sending = asyncio.create_task(second.send(body))
    await until(lambda: limit_count(running, "max_inflight"))
    used, limit, waiting = running.server.metrics.inflight()
    assert 0 < used <= limit
    assert waiting == 1
    store.gate.set()
    for wire in (first, second):
        assert (await wire.reply()).startswith(b"250")
        assert await wire.ask(b"QUIT\r\n") == [221]
    await sending
    await until(lambda: len(ended(running)) == 2)
    assert sorted(one["limit"] for one in ended(running)) == ["", "max_inflight"]
    assert running.server.metrics.inflight()[::2] == (0, 0)


async def test_failed_logins(start, tmp_path):
    (tmp_path / "users").write_text(f"alice:{cheap_hash('x')}\n")
    running = await start(
        SMTP_AUTH="optional",
        SMTP_AUTH_USERS=str(tmp_path / "users"),
        SMTP_AUTH_INSECURE="1",
    )
    running.server.services.authenticator._sleep = lambda _seconds: asyncio.sleep(0)
    wire = await running.say_hello()
    for _ in range(5):
        assert await wire.ask(b"AUTH PLAIN AGEAYg==\r\n") == [535]
    assert (await wire.rest()).startswith(b"421 4.7.0 Too many failed logins")
    await check(running, "failed_logins", "error")


# --- a last word, and after


async def test_a_peer_that_talks_on_after_the_last_word_is_cut_off(start):
    running = await start(SMTP_MAX_ERRORS="1")
    wire = await running.connect()
    assert await wire.ask(b"X\r\n", 2) == [500, 421]

    async def talk():
        while True:
            await wire.send(b"X\r\n")
            await asyncio.sleep(0.1)

    task = asyncio.create_task(talk())
    await until(lambda: not running.server.roster.connections)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_session_that_ended_has_no_place_though_its_client_stays(start):
    running = await start(SMTP_MAX_ERRORS="1", SMTP_MAX_CONNECTIONS="1")
    for _ in range(3):
        wire = await running.connect()
        assert await wire.ask(b"X\r\n" * 50, 2) == [500, 421]
    assert running.server.admission.connections == 0
    assert len(running.server.roster.lingering) == 3
    await until(lambda: not running.server.roster.connections)
    assert not running.server.roster.lingering


async def test_those_who_linger_are_bounded(start, monkeypatch):
    monkeypatch.setattr(roster, "MAX_LINGERING", 2)
    running = await start(SMTP_MAX_ERRORS="1")
    wires = [await running.connect() for _ in range(4)]
    for wire in wires:
        assert await wire.ask(b"X\r\n", 2) == [500, 421]
    assert list(running.server.roster.lingering) != []
    assert len(running.server.roster.lingering) <= 2
    assert await wires[0].is_cut()


async def test_an_envelope_that_holds_memory_is_held_to_the_rate_of_data(start):
    running = await start(SMTP_TIMEOUT="100", SMTP_MIN_DATA_RATE="10")
    wire = await running.say_hello()
    rcpt = b"RCPT TO:<c@y.test> ORCPT=rfc822;" + b"x" * 480 + b"\r\n"
    assert set(await wire.ask(START[:-6] + rcpt * 200, 202)) == {250}
    running.later(60)
    assert await wire.ask(b"NOOP\r\n") == [250]
    running.later(60)
    assert (await wire.rest()).startswith(b"421 4.4.2 Data came too slowly")
    await check(running, "min_data_rate", "timeout")
    assert running.server.budget.in_use == 0


# --- a store that hangs


async def test_a_store_that_hangs_holds_no_client(start):
    store = GatedStore()
    running = await start(store=store, SMTP_STORE_TIMEOUT="100")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(b"x\r\n.\r\n")
    await store.started.wait()
    running.later(101)
    assert (await wire.reply()).startswith(b"451 4.3.0 The store does not answer")
    # While it hangs no further message is taken, from nobody.
    assert await wire.ask(b"MAIL FROM:<>\r\n") == [451]
    other = await running.say_hello()
    assert await other.ask(b"MAIL FROM:<>\r\n") == [451]
    store.gate.set()
    await until(lambda: running.messages)
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert await wire.ask(b"QUIT\r\n") == [221]
    assert len(running.messages) == 2
    counts = running.server.metrics.series()["messages"].counts
    assert counts["smtp", "deferred", "store_timeout"] == 3  # one not kept, two not taken
    assert counts["smtp", "accepted", "none"] == 1
    assert [one["kept"] for one in running.logged("store answered late")] == [True]
    assert running.server.roster.pending == {}


async def test_memory_of_a_message_the_store_holds_is_not_given_away(start):
    store = GatedStore()
    running = await start(store=store, SMTP_STORE_TIMEOUT="0.3", SMTP_MAX_MESSAGE_SIZE="1MiB")
    budget = running.server.budget
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send((b"x" * 998 + b"\r\n") * 500 + b".\r\n")
    assert (await wire.reply()).startswith(b"451")
    assert budget.in_use > 0
    wire.close()
    await until(lambda: not running.server.roster.connections)
    assert budget.in_use > 0
    store.gate.set()
    # The store's own task ends first, and the memory comes back a turn of the loop later.
    await until(lambda: running.messages and not budget.in_use)


async def test_clients_that_come_again_do_not_pile_up_messages_before_a_stuck_store(start):
    store = GatedStore()
    running = await start(store=store, SMTP_MAX_CONNECTIONS="2")
    for number in range(5):
        wire = await running.say_hello()
        await wire.send(START + b"x\r\n.\r\n")
        await until(lambda n=number: len(running.server.roster.pending) == n + 1)
        reset(wire)
        await until(lambda: not running.server.roster.connections)
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<>\r\n") == [451]
    store.gate.set()
    await until(lambda: len(running.messages) == 5)
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]


# --- who gives way when every place is taken


async def test_a_newcomer_takes_the_place_of_whoever_sends_nothing(start):
    running = await start(SMTP_MAX_CONNECTIONS="2", SMTP_STRESS_TIMEOUT="100")
    first = await running.say_hello()
    second = await running.say_hello()
    third = await running.connect(greet=False)
    assert (await third.rest()).startswith(b"421 4.3.2")
    running.later(101)
    # The one that was here longer has just sent mail.
    assert await first.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    await running.say_hello()
    assert (await second.rest()).startswith(b"421 4.4.5 Others need the place")
    assert await first.ask(b"NOOP\r\n") == [250]
    await check(running, "stress_timeout", "shed")
    await until(lambda: running.server.admission.connections == 2)
    assert running.server.metrics.active["smtp"] == 2


async def test_zero_never_sheds(start):
    running = await start(SMTP_MAX_CONNECTIONS="1", SMTP_STRESS_TIMEOUT="0")
    await running.say_hello()
    running.later(101)
    assert (await (await running.connect(greet=False)).rest()).startswith(b"421 4.3.2")


async def test_one_over_its_own_share_makes_nobody_give_way(start):
    running = await start(
        SMTP_MAX_CONNECTIONS="1", SMTP_STRESS_TIMEOUT="100", SMTP_MAX_CONNECTIONS_PER_IP="1"
    )
    first = await running.say_hello()
    running.later(101)
    assert (await (await running.connect(greet=False)).rest()).startswith(b"421 4.7.0")
    assert await first.ask(b"NOOP\r\n") == [250]


async def test_a_message_before_the_store_is_not_shed(start):
    store = GatedStore()
    running = await start(store=store, SMTP_MAX_CONNECTIONS="1", SMTP_STRESS_TIMEOUT="10")
    wire = await running.say_hello()
    await wire.send(START + b"x\r\n.\r\n")
    await store.started.wait()
    running.later(11)
    assert (await (await running.connect(greet=False)).rest()).startswith(b"421 4.3.2")
    store.gate.set()
    assert [(await wire.reply())[:3] for _ in range(4)] == [b"250", b"250", b"354", b"250"]


SLOW = {
    "silent": b"",
    "greeted": b"EHLO c.test\r\n",
    "half a line": b"EHLO c",
    "transaction": b"EHLO c.test\r\n" + START[:-6],
    "data": b"EHLO c.test\r\n" + START + b"slow",
    "chunk": b"EHLO c.test\r\n" + START[:-6] + b"BDAT 1000\r\nslow",
    "password": b"EHLO c.test\r\nAUTH LOGIN\r\n",
    "handshake": b"EHLO c.test\r\nSTARTTLS\r\n",
}


@pytest.mark.parametrize("octets", SLOW.values(), ids=SLOW)
async def test_honest_clients_are_served_while_slow_ones_hold_every_place(start, octets):
    """Each newcomer gets a place at once, at whatever stage a hundred others drip."""
    running = await start(
        SMTP_MAX_CONNECTIONS="100",
        SMTP_STRESS_TIMEOUT="100",
        SMTP_TLS_CERT="self-signed",
        SMTP_AUTH="any",
        SMTP_AUTH_INSECURE="1",
    )
    slow = []
    for _ in range(100):
        wire = await running.connect(greet=False)
        await wire.send(octets)
        slow.append(wire)
    await until(lambda: running.server.admission.connections == 100)

    async def drip(wire):
        try:
            while True:
                await wire.send(b"x")
                await asyncio.sleep(0.1)
        except OSError:
            pass

    drips = [asyncio.create_task(drip(wire)) for wire in slow]
    running.later(101)
    seconds = []
    for _ in range(20):
        begun = time.monotonic()
        wire = await running.say_hello()
        assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
        assert await wire.ask(b"QUIT\r\n") == [221]
        seconds.append(time.monotonic() - begun)
    # The usual client: this machine may well stop for a second, but not each time.
    assert sorted(seconds)[10] < 1, seconds
    for task in drips:
        task.cancel()
    await asyncio.gather(*drips, return_exceptions=True)
    assert len(running.messages) == 20
    assert running.server.admission.connections <= 100
    for wire in slow:
        wire.close()
    await until(lambda: not running.server.roster.connections)
    assert running.server.admission.connections == 0
    assert running.server.metrics.active == {"smtp": 0, "smtps": 0}
    assert not any("unexpected" in line for line in running.records())


async def test_stalled_implicit_handshakes_and_headers_give_way_too(start):
    running = await start(
        SMTP_MAX_CONNECTIONS="4",
        SMTP_STRESS_TIMEOUT="100",
        SMTP_TLS_CERT="self-signed",
        SMTP_TLS_PORT="0",
    )
    port = int(running.bound.smtps.rpartition(":")[2])
    stalled = [await running.connect(greet=False, port=port) for _ in range(4)]
    await until(lambda: running.server.admission.connections == 4)
    running.later(101)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
    assert (await reader.readline()).startswith(b"220 ")
    writer.close()
    assert limit_count(running, "stress_timeout") == 1
    for wire in stalled:
        wire.close()
    await until(lambda: not running.server.roster.connections)
    assert running.server.admission.connections == 0


async def test_one_that_never_reads_gives_way_without_a_word(start):
    running = await start(SMTP_MAX_CONNECTIONS="1", SMTP_STRESS_TIMEOUT="100")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", running.port))

    async def flood():
        while True:
            await loop.sock_sendall(sock, b"HELP\r\n" * 1000)

    task = asyncio.create_task(flood())
    await until(
        lambda: [one for one in running.server.roster.connections if one._flow.is_writing_paused]
    )
    running.later(101)
    await running.say_hello()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    sock.close()
    assert limit_count(running, "stress_timeout") == 1
