"""Everything is bounded, by the server's own limits and by the engine's."""

import contextlib
import socket
import threading

import pytest
from docker.types import Ulimit

from prixfixe.verify.dialogue.wire import ClosedError, Wire
from tests.container import engine
from tests.container.box import PYTHON
from tests.container.profile import LEAST_MEMORY, LEAST_NOFILE, LEAST_PIDS, mail_on_tmpfs
from tests.container.talk import Crowd, body_of, deliver, envelope, stuffed
from tests.container.waiting import eventually

KIB, MIB = 1024, 1024 * 1024


# --- connections


def test_the_third_of_two_connections_is_turned_away_and_a_freed_slot_is_usable(start):
    box = start({"SMTP_MAX_CONNECTIONS": "2"})
    with box.hello() as first, box.hello() as second:
        with box.connect() as third:
            assert third.reply().startswith(b"421 4.3.2 ")
            assert third.end()
        assert first.ask(b"NOOP\r\n") == [250]  # those inside notice nothing
        assert second.ask(b"QUIT\r\n") == [221]
        assert second.end()
        with box.hello() as fourth:
            deliver(fourth, body_of(100))
    assert len(box.messages()) == 1


def test_a_slot_is_freed_by_a_client_that_vanishes(start):
    box = start({"SMTP_MAX_CONNECTIONS": "1"})
    wire = box.hello()
    envelope(wire)
    wire.reset()
    eventually(lambda: can_enter(box), what="the freed slot")
    assert box.messages() == []


def can_enter(box):
    with box.connect() as wire:
        return is_greeted(wire)


def is_greeted(wire):
    """Whether a client may stay. Out of descriptors, the server hangs up without a word."""
    with contextlib.suppress(ClosedError):
        return wire.reply().startswith(b"220 ")
    return False


def test_the_limit_of_one_address_does_not_touch_another(start):
    """Clients of this machine share the network's gateway; the second address is loopback."""
    box = start({"SMTP_MAX_CONNECTIONS_PER_IP": "1"})
    with box.hello() as first:
        with box.connect() as second:
            assert second.reply().startswith(b"421 4.7.0 ")
        inside = box.prixfixe("check", "-v", "--smtp", "127.0.0.1:2525")
        assert "220 localhost" in inside.output
        assert first.ask(b"NOOP\r\n") == [250]


# --- messages

LIMIT = 20 * KIB


@pytest.fixture
def narrow(start):
    return start({"SMTP_MAX_MESSAGE_SIZE": str(LIMIT)})


@pytest.mark.parametrize("octets", [LIMIT - 1, LIMIT])
def test_a_message_up_to_the_limit_is_kept(narrow, octets):
    body = body_of(octets)
    with narrow.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@b.test> SIZE=%d\r\n" % octets) == [250]
        assert wire.ask(b"RSET\r\n") == [250]
        deliver(wire, body)
    assert [one.body for one in narrow.messages()] == [body]


def test_a_declared_size_over_the_limit_is_refused_before_the_data(narrow):
    with narrow.hello() as wire:
        wire.send(b"MAIL FROM:<a@b.test> SIZE=%d\r\n" % (LIMIT + 1))
        assert wire.reply().startswith(b"552 5.3.4 ")
        deliver(wire, body_of(100))


def test_an_undeclared_size_over_the_limit_is_refused_after_the_data(narrow):
    with narrow.hello() as wire:
        envelope(wire)
        wire.send(stuffed(body_of(LIMIT + 1)))
        assert wire.reply().startswith(b"552 5.3.4 ")
        deliver(wire, body_of(100))  # the session goes on
    assert [len(one.body) for one in narrow.messages()] == [100]


def test_one_recipient_too_many_is_refused_and_the_others_get_the_mail(start):
    box = start({"SMTP_MAX_RECIPIENTS": "3"})
    with box.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@b.test>\r\n") == [250]
        codes = [wire.ask(b"RCPT TO:<r%d@b.test>\r\n" % number)[0] for number in range(3)]
        wire.send(b"RCPT TO:<r3@b.test>\r\n")
        assert codes == [250] * 3
        assert wire.reply().startswith(b"452 4.5.3 ")
        assert wire.ask(b"DATA\r\n") == [354]
        assert wire.ask(b"x\r\n.\r\n") == [250]
    (kept,) = box.messages()
    assert kept.recipients == ("r0@b.test", "r1@b.test", "r2@b.test")


# --- time


def test_a_silent_client_is_told_and_let_go(start):
    box = start({"SMTP_TIMEOUT": "0.5"})
    with box.greeted() as wire:
        assert wire.reply().startswith(b"421 4.4.2 ")
        assert wire.end()


def test_silence_in_the_middle_of_a_message_keeps_nothing(start):
    box = start({"SMTP_TIMEOUT": "1"})
    said = eventually(lambda: halted(box), what="the half of a message before its time is over")
    assert said.splitlines()[-1].startswith(b"421 4.4.2 ")
    assert box.messages() == []


def halted(box):
    """Send half a message; return all that was said to it, nothing when it came too late."""
    with box.greeted() as wire:
        wire.send(b"HELO half.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        wire.send(b"Subject: half\r\n\r\nhalf a mess")
        said = wire.rest()
    return said if b"\r\n354 " in said else b""


HANG = r"""
import socket, sys, time
client = socket.create_connection((sys.argv[1], 2525), 10)
for line in (b"HELO far.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA"):
    client.recv(1000)
    client.sendall(line + b"\r\n")
client.recv(1000)
client.sendall(b"Subject: half\r\n\r\nhalf")
print("hanging", flush=True)
time.sleep(600)
"""


def test_a_client_that_falls_off_the_network_frees_its_slot(start):
    """A client in a container of its own, whose network is taken away: no end is ever heard."""
    box = start({"SMTP_MAX_CONNECTIONS": "1", "SMTP_TIMEOUT": "5", "SMTP_STRESS_TIMEOUT": "0"})
    network = engine.client().networks.get(engine.network())
    where = box.container.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
    client = start(
        entrypoint=[PYTHON, "-IBc"], command=[HANG, where], volume=None, ports=(), is_awaited=False
    )
    client.is_trouble_expected = True  # it is not a server
    eventually(lambda: "hanging" in client.logs(), what="the client in its message")
    network.disconnect(client.container)
    eventually(lambda: can_enter(box), what="the freed slot")
    eventually(lambda: ended_of(box, "far.test") == ["timeout"], what="the record of it")
    assert box.messages() == []


def ended_of(box, helo):
    return [one["end"] for one in box.records() if one.get("helo") == helo]


SLOTS = 4


def test_an_honest_client_is_served_while_slow_ones_take_every_slot(start):
    """Slowloris: an octet now and then, never a line. Their time runs out, and others get in."""
    box = start({"SMTP_MAX_CONNECTIONS": str(SLOTS), "SMTP_TIMEOUT": "3"})
    is_over = threading.Event()
    slow = [threading.Thread(target=dribble, args=(box.address(), is_over)) for _ in range(SLOTS)]
    for thread in slow:
        thread.start()
    try:
        eventually(lambda: not can_enter(box), what="the server at its limit")
        for _ in range(3):
            eventually(lambda: delivered(box), 20, "service for an honest client")
    finally:
        is_over.set()
        for thread in slow:
            thread.join(30)
    assert len(box.messages()) == 3


def dribble(address, is_over):
    """Come again whenever thrown out, and send one octet every fifth of a second."""
    while not is_over.is_set():
        with contextlib.suppress(OSError), socket.create_connection(address, 10) as client:
            client.settimeout(0.2)
            while not is_over.is_set():
                client.send(b"E")
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1000):
                        break
        is_over.wait(0.3)


def delivered(box):
    with box.connect() as wire:
        if not wire.reply().startswith(b"220 "):
            return False
        if wire.ask(b"HELO honest.test\r\n") == [421]:  # this client was the slow one
            return False
        deliver(wire, body_of(100))
        return True


# --- the engine's limits


BIG_CLIENTS = 24


def test_many_big_messages_at_once_fit_in_96_mebibytes(start, record_property):
    """Each a message of five megabytes, all at once, in memory that could not hold a half of them."""
    box = start({"SMTP_MAX_MESSAGE_SIZE": "6MB", "SMTP_MAX_INFLIGHT": "8MiB"}, mem_limit="96m")
    with Crowd(box.hello, BIG_CLIENTS, each=1, octets=5_000_000) as crowd:
        ledger = crowd.join()
    assert not crowd.errors
    assert len(ledger.acknowledged) == BIG_CLIENTS
    stats = box.stats()["memory_stats"]
    record_property("peak memory in octets", stats.get("max_usage"))
    assert not box.state["OOMKilled"]
    assert box.container.attrs["RestartCount"] == 0
    assert box.check().code == 0
    ledger.settle(box.messages())


def test_a_throttled_server_is_slow_and_nothing_else(start):
    """A tenth of a processor: the engine throttles, every client is answered."""
    box = start(nano_cpus=100_000_000)
    with Crowd(box.hello, 4, each=10) as crowd:
        ledger = crowd.join()
    assert not crowd.errors
    assert len(ledger.acknowledged) == 40
    assert throttled(box) > 0
    assert box.check().code == 0


def throttled(box):
    return box.stats()["cpu_stats"]["throttling_data"]["throttled_periods"]


HOG = """
import sys, threading
stop = threading.Event()
count = 0
try:
    while True:
        threading.Thread(target=stop.wait, daemon=True).start()
        count += 1
except RuntimeError as error:
    print(count, error, flush=True)
sys.stdin.readline()
stop.set()
"""


def test_mail_is_kept_while_no_process_more_can_be_made(start):
    box = start(pids_limit=12)
    with exhausted(box, HOG) as said:
        assert "can't start new thread" in said
        assert int(said.split()[0]) < 12
        with box.hello() as wire:
            deliver(wire, body_of(1000))
        assert box.http("/livez").status == 200
    eventually(lambda: processes(box) < 8, what="the end of the hog")
    assert len(box.messages()) == 1


def test_the_least_that_is_promised_is_enough(start):
    box = start(
        mem_limit=LEAST_MEMORY,
        pids_limit=LEAST_PIDS,
        ulimits=[Ulimit(name="nofile", soft=LEAST_NOFILE, hard=LEAST_NOFILE)],
        probe=1,
    )
    box.await_health("healthy")
    body = body_of(100_000)
    with box.hello() as wire, box.hello(), box.hello():
        name = deliver(wire, body)
        assert name in box.prixfixe("messages").output
    assert box.http(f"/api/v1/message/{name}/raw").body.endswith(body)
    assert box.prixfixe("check").code == 0
    assert not box.state["OOMKilled"]


def test_too_few_processes_stop_the_start_with_the_remedy(run_once):
    ended = run_once(pids_limit=3, **mail_on_tmpfs("16m"))
    assert ended.code == 3, ended
    assert ended.err.startswith("prixfixe: no further thread can be started; raise the limit")
    assert ended.err.count("\n") == 1


def processes(box):
    return box.stats()["pids_stats"]["current"]


@contextlib.contextmanager
def exhausted(box, code):
    """Run code in the container that says a line, then waits for the end of its input."""
    api = box.container.client.api
    made = api.exec_create(box.container.id, [PYTHON, "-IBc", code], stdin=True)
    stream = api.exec_start(made["Id"], socket=True)
    try:
        stream._sock.settimeout(20)
        yield stream._sock.recv(4096)[8:].decode()  # after the header of the engine's frame
    finally:
        stream._sock.close()
        stream.close()


def test_running_out_of_descriptors_hurts_only_those_who_come_too_late(start):
    box = start(ulimits=[Ulimit(name="nofile", soft=40, hard=40)])
    with box.hello() as early, contextlib.ExitStack() as stack:
        address = box.address()
        crowd = [stack.enter_context(Wire(address)) for _ in range(60)]
        assert sum(map(is_greeted, crowd)) < 40
        deliver(early, body_of(1000))
    eventually(lambda: can_enter(box), what="service after the crowd is gone")
    eventually(lambda: box.check().code == 0, what="health")
    assert len(box.messages()) == 1
