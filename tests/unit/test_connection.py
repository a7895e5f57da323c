"""Sessions over real sockets: time, flow, disconnects, drain, PROXY, TLS."""

import asyncio
import gc
import json
import socket
import ssl
import struct
import time
import weakref

import pytest

from prixfixe.stores.base import StoreError, StoreOptions
from prixfixe.stores.memory import MemoryStore
from tests.conftest import OWN_HOST, until

START = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"


class GatedStore(MemoryStore):
    """A store whose puts wait for a gate, and fail when told to."""

    def __init__(self):
        super().__init__(StoreOptions())
        self.gate = asyncio.Event()
        self.error = None
        self.started = asyncio.Event()

    def put(self, message):
        self.started.set()
        return asyncio.ensure_future(self._put(message))

    async def _put(self, message):
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        await super().put(message)


def reset(wire):
    """Close with RST, as a client that crashes."""
    sock = wire.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.writer.transport.abort()


async def test_a_message_is_kept_before_its_250(start):
    running = await start()
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(b"..dot\r\n\xff\0\r\n.\r\n")
    answer = await wire.reply()
    message = running.messages[0]
    assert answer == b"250 2.0.0 OK queued as %b\r\n" % message.id.encode()
    assert message.body == b".dot\r\n\xff\0\r\n"
    assert message.envelope.peer.startswith("127.0.0.1:")


async def test_a_batch_is_answered_in_one_segment(start, monkeypatch):
    # A slow machine, or one that traces, would end the turn within the batch.
    monkeypatch.setattr("prixfixe.connection.connection.SLICE_SECONDS", 10.0)
    monkeypatch.setattr("prixfixe.connection.turns.TURN_SECONDS", 10.0)
    running = await start()
    wire = await running.say_hello()
    await wire.send(b"NOOP\r\n" * 50)
    first = await wire.reader.read(65536)
    assert first.count(b"250 ") == 50


async def test_everything_due_is_answered_after_a_half_close(start):
    store = GatedStore()
    running = await start(store=store)
    wire = await running.say_hello()
    await wire.send(START + b"x\r\n.\r\nQUIT\r\n")
    wire.writer.write_eof()
    await store.started.wait()
    store.gate.set()
    answers = await wire.rest()
    assert [line[:3] for line in answers.splitlines()] == [b"250", b"250", b"354", b"250", b"221"]
    assert len(running.messages) == 1


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_client_that_goes_mid_commit_does_not_stop_it(start, end):
    store = GatedStore()
    running = await start(store=store)
    wire = await running.say_hello()
    await wire.send(START + b"x\r\n.\r\n")
    await store.started.wait()
    wire.close() if end == "close" else reset(wire)
    store.gate.set()
    await until(lambda: running.messages)
    await until(lambda: not running.server.roster.connections)
    await until(lambda: any("message kept" in line for line in running.records()))


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("error", [None, StoreError("no")], ids=["kept", "deferred"])
async def test_the_end_of_a_session_is_recorded_after_its_last_message(start, end, error):
    store = GatedStore()
    running = await start(store=store)
    wire = await running.say_hello()
    await wire.send(START + b"x\r\n.\r\n")
    await store.started.wait()
    wire.close() if end == "close" else reset(wire)
    if end == "reset":
        await until(lambda: not running.server.roster.connections)
        assert running.server.metrics.active["smtp"] == 0
        assert running.logged("session ended") == []
    store.error = error
    store.gate.set()
    await until(lambda: running.logged("session ended"))
    events = [json.loads(line)["event"] for line in running.records()]
    last = "message deferred" if error else "message kept"
    assert events.index(last) < events.index("session ended")
    (record,) = running.logged("session ended")
    assert record["messages"] == (0 if error else 1)


@pytest.mark.parametrize(
    "octets", [START + b"half", START + b"x\r\n.\r", START[:-6] + b"BDAT 9\r\nx"]
)
async def test_half_a_message_is_not_kept(start, octets):
    running = await start()
    wire = await running.say_hello()
    await wire.send(octets)
    wire.writer.write_eof()
    await wire.rest()
    await until(lambda: not running.server.roster.connections)
    assert running.messages == []
    counts = running.server.metrics.series()["messages"].counts
    assert counts["smtp", "aborted", "client_gone"] == 1


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (StoreError("disk /secret/path full", kind="full"), b"452 4.3.1 No room for the message"),
        (StoreError("250 injected\r\n"), b"451 4.3.0 Could not keep the message"),
        (RuntimeError("a defect"), b"451 4.3.0 Internal trouble"),
    ],
    ids=["full", "io", "defect"],
)
async def test_a_failed_put_is_temporary_and_says_nothing_more(start, error, answer):
    store = GatedStore()
    store.error = error
    store.gate.set()
    running = await start(store=store)
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(b"x\r\n.\r\n")
    reply = await wire.reply()
    assert reply.startswith(answer)
    assert b"secret" not in reply
    assert reply.count(b"\r\n") == 1
    assert await wire.ask(b"DATA\r\n") == [503]
    store.error = None
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert len(running.messages) == 1


async def test_an_idle_client_gets_421(start):
    running = await start(SMTP_TIMEOUT="0.2")
    wire = await running.connect()
    assert (await wire.reply()).startswith(b"421 4.4.2")
    assert await wire.rest() == b""


async def test_what_came_while_the_server_stood_still_is_in_time(start):
    """As after `docker pause`: the octets are there, and so is the end of the time they had."""
    running = await start(SMTP_TIMEOUT="0.2")
    wire = await running.connect()
    wire.writer.write(b"NOOP\r\n")
    time.sleep(0.5)  # noqa: ASYNC251 - client and server stand still: they are in this thread
    assert (await wire.reply()).startswith(b"250")
    assert (await wire.reply()).startswith(b"421 4.4.2")


async def test_octets_without_a_line_do_not_count_as_activity(start):
    running = await start(SMTP_TIMEOUT="0.3")
    wire = await running.connect()

    async def trickle():
        while True:
            await wire.send(b"x")
            await asyncio.sleep(0.02)

    task = asyncio.create_task(trickle())
    assert (await wire.reply()).startswith(b"421 4.4.2")
    task.cancel()


async def test_progress_in_a_body_counts_as_activity(start):
    running = await start(SMTP_TIMEOUT="100", SMTP_MIN_DATA_RATE="0")
    wire = await running.say_hello()
    await wire.ask(START, 3)
    (session,) = running.server.roster.connections
    for _ in range(6):
        before = session.session.progress
        await wire.send(b"line\r\n")
        await until(lambda before=before: session.session.progress > before)
        running.later(60)
    assert await wire.ask(b".\r\n") == [250]
    running.later(101)
    assert (await wire.reply()).startswith(b"421 4.4.2")


async def test_small_chunks_in_time_do_not_hold_a_place(start):
    running = await start(SMTP_TIMEOUT="100", SMTP_MIN_DATA_RATE="500")
    wire = await running.say_hello()
    assert await wire.ask(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@b.example>\r\n", 2) == [250] * 2
    for _ in range(2):
        assert await wire.ask(b"BDAT 1\r\nx") == [250]
        running.later(60)
    assert (await wire.reply()).startswith(b"421 4.4.2")


async def test_a_commit_slower_than_the_timeout_is_answered(start):
    store = GatedStore()
    running = await start(store=store, SMTP_TIMEOUT="100", SMTP_STORE_TIMEOUT="1000")
    wire = await running.say_hello()
    assert await wire.ask(START, 3) == [250, 250, 354]
    await wire.send(b"x\r\n.\r\n")
    await store.started.wait()
    running.later(300)
    store.gate.set()
    assert (await wire.reply()).startswith(b"250")
    assert await wire.ask(b"NOOP\r\n") == [250]


async def test_a_client_that_never_reads_is_cut_off(start):
    running = await start(SMTP_TIMEOUT="0.3")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", running.port))
    connections = running.server.metrics.series
    await until(lambda: connections()["smtp_connections"].counts["smtp", "accepted"])

    async def flood():
        while True:
            await loop.sock_sendall(sock, b"HELP\r\n" * 1000)

    task = asyncio.create_task(flood())
    await until(lambda: not running.server.roster.connections)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    sock.close()


async def test_a_flood_of_commands_does_not_hold_up_others(start):
    running = await start()
    flooders = [await running.connect() for _ in range(4)]
    tasks = [asyncio.create_task(one.send(b"NOOP\r\n" * 20_000)) for one in flooders]
    sinks = [asyncio.create_task(one.reader.read(1 << 20)) for one in flooders]
    wire = await running.connect()
    assert await wire.ask(b"NOOP\r\n") == [250]
    for task in (*tasks, *sinks):
        task.cancel()
    await asyncio.gather(*tasks, *sinks, return_exceptions=True)
    for one in flooders:
        reset(one)


async def test_connections_over_the_limit_get_421_and_a_freed_slot_is_usable(start):
    running = await start(SMTP_MAX_CONNECTIONS="2")
    first, _second = await running.connect(), await running.connect()
    third = await running.connect(greet=False)
    assert (await third.rest()).startswith(b"421 4.3.2")
    assert await first.ask(b"QUIT\r\n") == [221]
    await until(lambda: len(running.server.roster.connections) == 1)
    await running.connect()


async def test_connections_of_one_address_over_its_limit_get_421(start):
    running = await start(SMTP_MAX_CONNECTIONS_PER_IP="1")
    await running.connect()
    second = await running.connect(greet=False)
    assert (await second.rest()).startswith(b"421 4.7.0")


async def test_last_words_arrive_although_input_is_left(start):
    running = await start(SMTP_MAX_ERRORS="2")
    wire = await running.connect()
    await wire.send(b"X\r\n" * 20_000)
    answers = await wire.rest()
    assert answers.splitlines()[-1].startswith(b"421 4.7.0")


async def test_drain_says_421_to_idle_sessions_and_finishes_messages(start):
    store = GatedStore()
    running = await start(store=store, SMTP_BIND=OWN_HOST)
    idle, busy = [await running.connect(host=OWN_HOST) for _ in range(2)]
    assert await busy.ask(b"EHLO c.test\r\n") == [250]
    await busy.ask(START, 3)
    await busy.send(b"x\r\n")
    stopping = asyncio.create_task(running.server.stop())
    assert (await idle.reply()).startswith(b"421 4.3.2")
    assert await idle.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await running.connect(host=OWN_HOST)
    await busy.send(b".\r\n")
    await store.started.wait()
    store.gate.set()
    assert [(await busy.reply())[:3] for _ in range(2)] == [b"250", b"421"]
    await stopping
    assert len(running.messages) == 1


async def test_drain_ends_at_its_deadline(start):
    running = await start(SMTP_SHUTDOWN_TIMEOUT="0.1")
    wire = await running.say_hello()
    await wire.ask(START, 3)
    await running.server.stop()
    assert await wire.is_cut()


async def test_a_defect_closes_the_session_with_a_fixed_reply(start, monkeypatch):
    running = await start()
    wire = await running.say_hello()
    monkeypatch.setattr("prixfixe.smtp.session.Session._command", lambda *_: 1 / 0)
    await wire.send(b"NOOP\r\n")
    assert (await wire.reply()).startswith(b"421 4.3.0 Internal trouble")
    assert any("ZeroDivisionError" in line for line in running.records())


async def test_big_messages_share_one_budget(start):
    running = await start(SMTP_MAX_MESSAGE_SIZE="1MiB", SMTP_MAX_INFLIGHT="1MiB")
    wires = [await running.say_hello() for _ in range(6)]
    for wire in wires:
        assert await wire.ask(START, 3) == [250, 250, 354]
    body = (b"x" * 998 + b"\r\n") * 1000
    answers = await asyncio.gather(*[one.ask(body + b".\r\n") for one in wires])
    assert answers == [[250]] * 6
    assert running.server.budget.in_use == 0
    assert [len(message.body) for message in running.messages] == [len(body)] * 6


HELLO = b"EHLO c.test\r\n"
BIG = b"x" * 998 + b"\r\n"
STAGES = {
    "greeting": (b"", {}),
    "half a line": (b"NOO", {}),
    "commands": (HELLO + b"NOOP\r\n" * 5000, {}),
    "endless line": (b"x" * 200_000, {}),
    "transaction": (HELLO + START[:-6], {}),
    "body": (HELLO + START + b"half", {}),
    "big body": (HELLO + START + BIG * 600, {}),
    "too big a body": (HELLO + START + BIG * 1200, {}),
    "chunk": (HELLO + START[:-6] + b"BDAT 500000\r\n" + BIG * 300, {}),
    "refused chunk": (HELLO + b"BDAT 500000\r\n" + BIG * 300, {}),
    "kept": (HELLO + START + b"x\r\n.\r\n" * 1 + b"NOOP\r\n", {}),
    "credentials": (HELLO + b"AUTH PLAIN\r\n", {"SMTP_AUTH": "any", "SMTP_AUTH_INSECURE": "1"}),
    "handshake": (HELLO + b"STARTTLS\r\n", {"SMTP_TLS_CERT": "self-signed"}),
    "bad handshake": (HELLO + b"STARTTLS\r\n", {"SMTP_TLS_CERT": "self-signed"}),
    "half a PROXY header": (b"PROXY TCP4 192.", {"SMTP_PROXY_PROTOCOL": "127.0.0.0/8"}),
    "PROXY header": (
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 25\r\n" + HELLO,
        {"SMTP_PROXY_PROTOCOL": "127.0.0.0/8"},
    ),
}


@pytest.mark.parametrize("end", ["close", "half-close", "reset"])
@pytest.mark.parametrize(("octets", "variables"), STAGES.values(), ids=STAGES)
async def test_a_client_that_leaves_at_any_stage_gives_everything_back(
    start, octets, variables, end, request
):
    running = await start(
        SMTP_MAX_MESSAGE_SIZE="1MiB", SMTP_MAX_CONNECTIONS_PER_IP="5", **variables
    )
    wires = [await running.connect(greet=False) for _ in range(3)]
    for wire in wires:
        wire.writer.write(octets)
        if "bad handshake" in request.node.name:
            await until(lambda: running.server.roster.connections)
            wire.writer.write(b"this is no ClientHello" * 50)
    server = running.server
    await until(lambda: len(server.roster.connections) == 3 or "kept" in request.node.name)
    for wire in wires:
        if end == "reset":
            reset(wire)
        elif end == "half-close":
            wire.writer.write_eof()
        else:
            wire.close()
    await until(lambda: not server.roster.connections)
    assert server.admission.connections == 0
    assert server.admission._per_peer == {}
    assert (server.budget.in_use, server.budget.waiting) == (0, 0)
    assert running.server.metrics.active == {"smtp": 0, "smtps": 0}
    assert not any("unexpected" in line for line in running.records())
    assert running.server.metrics.series()["metrics_defects"].counts[()] == 0


async def test_a_defect_while_a_login_is_checked_ends_the_session(start):
    running = await start(SMTP_AUTH="any", SMTP_AUTH_INSECURE="1")

    async def fail(*_args, **_named):
        raise RuntimeError("a defect")

    running.server.services.authenticator.verify = fail
    wire = await running.say_hello()
    assert await wire.ask(b"AUTH PLAIN AHUAcA==\r\n") == [421]
    assert await wire.is_cut()
    assert any("unexpected" in line for line in running.records())


# --- PROXY


async def test_proxy_header_names_the_real_client(start):
    running = await start(SMTP_PROXY_PROTOCOL="127.0.0.0/8")
    wire = await running.connect(greet=False)
    await wire.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 25\r\nEHLO c.test\r\n")
    assert (await wire.reply()).startswith(b"220 ")
    await wire.reply()
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert running.messages[0].envelope.peer == "192.0.2.7:5555"


async def test_a_refused_proxied_peer_frees_no_slot_of_others(start):
    running = await start(SMTP_PROXY_PROTOCOL="127.0.0.0/8", SMTP_MAX_CONNECTIONS_PER_IP="1")
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 25\r\n"
    first = await running.connect(greet=False)
    await first.send(header)
    assert (await first.reply()).startswith(b"220 ")
    for _ in range(3):
        other = await running.connect(greet=False)
        await other.send(header)
        assert (await other.rest()).startswith(b"421 4.7.0")
    await until(lambda: len(running.server.roster.connections) == 1)
    assert running.server.metrics.active["smtp"] == 1


async def test_trusted_peer_must_send_a_proxy_header(start):
    running = await start(SMTP_PROXY_PROTOCOL="127.0.0.0/8")
    wire = await running.connect(greet=False)
    await wire.send(b"EHLO c.test\r\n" * 5)
    assert (await wire.reply()).startswith(b"421 4.3.2")


async def test_proxy_header_from_elsewhere_is_an_unknown_command(start):
    running = await start(SMTP_PROXY_PROTOCOL="192.0.2.0/24")
    wire = await running.connect()
    assert await wire.ask(b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 25\r\n") == [500]


async def test_a_slow_proxy_header_is_cut_off(start):
    running = await start(SMTP_PROXY_PROTOCOL="127.0.0.0/8", SMTP_TIMEOUT="0.2")
    wire = await running.connect(greet=False)
    await wire.send(b"PROXY ")
    assert await wire.is_cut()


# --- TLS


def client_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_starttls_begins_anew_and_keeps_the_message(start):
    running = await start(SMTP_TLS_CERT="self-signed")
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\n") == [220]
    await wire.writer.start_tls(client_context())
    assert await wire.ask(b"MAIL FROM:<a@b>\r\n") == [503]
    await wire.send(b"EHLO c.test\r\n")
    assert b"STARTTLS" not in await wire.reply()
    assert await wire.ask(START + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    envelope = running.messages[0].envelope
    assert envelope.protocol == "ESMTPS"
    assert envelope.tls.startswith("TLSv1.3 ")
    wire.close()


async def test_commands_glued_to_starttls_are_dropped(start):
    running = await start(SMTP_TLS_CERT="self-signed")
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\nNOOP\r\nVRFY x\r\n") == [220]
    await wire.writer.start_tls(client_context())
    assert await wire.ask(b"EHLO c\r\n") == [250]
    wire.close()


async def test_clear_text_where_a_handshake_is_due_ends_the_connection(start):
    running = await start(SMTP_TLS_CERT="self-signed")
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\n") == [220]
    await wire.send(b"MAIL FROM:<a@b>\r\n" * 300)
    assert await wire.is_cut()
    await until(lambda: not running.server.roster.connections)
    assert running.server.metrics.active == {"smtp": 0, "smtps": 0}


async def test_a_stalled_handshake_is_dropped(start):
    running = await start(SMTP_TLS_CERT="self-signed", SMTP_TIMEOUT="100")
    wire = await running.say_hello()
    assert await wire.ask(b"STARTTLS\r\n") == [220]
    (session,) = running.server.roster.connections
    await until(lambda: session._handshake)
    running.later(101)
    assert await wire.is_cut()


async def test_implicit_tls_listens_beside_the_plain_port(start):
    running = await start(SMTP_TLS_CERT="self-signed", SMTP_TLS_PORT="0")
    port = int(running.bound.smtps.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
    assert (await reader.readline()).startswith(b"220 ")
    writer.write(b"EHLO c\r\n")
    lines = b""
    while b"250 " not in lines:
        lines += await reader.readline()
    assert b"STARTTLS" not in lines
    writer.write(START + b"x\r\n.\r\nQUIT\r\n")
    answers = await reader.read()
    assert [line[:3] for line in answers.splitlines()] == [b"250", b"250", b"354", b"250", b"221"]
    assert running.messages[0].envelope.protocol == "ESMTPS"
    writer.close()


async def test_a_new_certificate_serves_new_sessions_on_both_listeners(start, tmp_path):
    import trustme

    def issue():
        pair = trustme.CA().issue_cert("localhost")
        pair.cert_chain_pems[0].write_to_path(tmp_path / "cert")
        pair.private_key_pem.write_to_path(tmp_path / "key")
        return ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode())

    async def served(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
        await reader.readline()
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found

    first = issue()
    files = {"SMTP_TLS_CERT": str(tmp_path / "cert"), "SMTP_TLS_KEY": str(tmp_path / "key")}
    running = await start(SMTP_TLS_PORT="0", **files)
    port = int(running.bound.smtps.rpartition(":")[2])
    wire = await running.say_hello()
    assert await served(port) == first
    second = issue()
    await running.server.reload()
    assert await served(port) == second
    assert await wire.ask(b"STARTTLS\r\n") == [220]
    await wire.writer.start_tls(client_context())
    assert wire.writer.get_extra_info("ssl_object").getpeercert(binary_form=True) == second
    (tmp_path / "cert").write_text("broken")
    await running.server.reload()
    assert await served(port) == second
    checks = await running.server.readiness.check()
    assert not checks["tls"].is_ok


async def test_a_session_that_is_over_leaves_nothing_for_the_collector(start):
    running = await start()
    gc.collect()
    gc.disable()
    try:
        wire = await running.say_hello()
        (session,) = running.server.roster.connections
        gone = weakref.ref(session), weakref.ref(session.session)
        del session
        assert await wire.ask(START, 3) == [250, 250, 354]
        assert await wire.ask(b"x\r\n.\r\nQUIT\r\n", 2) == [250, 221]
        await until(lambda: not running.server.roster.connections)
        await until(lambda: gone[0]() is None and gone[1]() is None)
    finally:
        gc.enable()
