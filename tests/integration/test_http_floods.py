"""HTTP clients that send or leave unread what costs most: a real process, mail and memory beside it.

The figures are wide, the best of three counts, and what the machine takes without the flood is added:
what is told apart is a loop that stops.
"""

import contextlib
import multiprocessing
import os
import re
import smtplib
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import PATIENCE
from tests.integration.test_bounds import peak_kib

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")

LATEST_SECONDS = 0.25
MEMORY_KIB = 180 * 1024
LARGE = 9_600_000
CHUNKED = b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n"
TINY = b"1\r\nx\r\n" * 5000
FLOODS = {  # others are in the table of the session `floods`
    "tiny chunks of one who waits": (b"GET /api/v1/wait?query=to:x HTTP/1.1\r\n" + CHUNKED, TINY),
    "header lines": (b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"a:\r\n" * 5000),
    "a head of many lines": (
        b"",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 80 + b"\r\n",
    ),
    "trailers": (
        b"",
        b"DELETE /nothing HTTP/1.1\r\n" + CHUNKED + b"0\r\n" + b"a:\r\n" * 3500 + b"\r\n",
    ),
}


@contextlib.contextmanager
def server(tmp_path, **variables):
    """Start a process; yield its id, and its ports of SMTP and HTTP."""
    env = {**os.environ, "SMTP_PORT": "0", "SMTP_BIND": "127.0.0.1", "SMTP_HTTP_PORT": "0"}
    env |= {"SMTP_STORE": f"sqlite:{tmp_path}/mail.db", **variables}
    output = tmp_path / "output"
    with output.open("w") as stream:
        command = [sys.executable, "-m", "prixfixe"]
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=stream, cwd=tmp_path)
        try:
            deadline = time.monotonic() + PATIENCE
            while not (
                found := re.search(r"ready smtp=\S+:(\d+) http=\S+:(\d+)", output.read_text())
            ):
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.01)
            yield process.pid, int(found[1]), int(found[2])
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert "Traceback" not in output.read_text()


def flood(port, head, piece, until, connections=8):
    """Keep connections full of this until the time comes, whoever is sent away."""
    clients = [None] * connections
    while time.monotonic() < until:
        for number in range(connections):
            try:
                clients[number] = pour(clients[number] or opened(port, head), piece)
            except OSError:
                clients[number] = None
    for client in filter(None, clients):
        client.close()


def opened(port, head):
    client = socket.create_connection(("127.0.0.1", port), 5)
    client.setblocking(False)
    client.send(head)
    return client


def pour(client, piece):
    """Send what goes out at once and read what is there; return the client if it is open."""
    with contextlib.suppress(BlockingIOError):
        client.send(piece)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return client
    except OSError:
        pass
    client.close()
    return None


def healthy(port):
    since = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    return time.perf_counter() - since


def mailed(port, octets=b"Subject: x\r\n\r\nhi\r\n"):
    since = time.perf_counter()
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as smtp:
        smtp.sendmail("a@x.test", ["b@y.test"], octets)
    return time.perf_counter() - since


def asked_thrice(smtp, http):
    """Return the times of three answers of health, and of three mails."""
    return list(zip(*[(healthy(http), mailed(smtp)) for _ in range(3)], strict=True))


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_http_stops_neither_health_nor_mail(tmp_path, kind):
    with server(tmp_path) as (pid, smtp, http):
        quiet = [min(times) for times in asked_thrice(smtp, http)]
        until = time.monotonic() + 2.5
        attack = multiprocessing.get_context("fork").Process(
            target=flood, args=(http, *FLOODS[kind], until)
        )
        attack.start()
        time.sleep(0.5)
        flooded = [min(times) for times in asked_thrice(smtp, http)]
        attack.join(PATIENCE)
        for before, during in zip(quiet, flooded, strict=True):
            assert during < LATEST_SECONDS + before
        assert peak_kib(pid) < MEMORY_KIB


def large_mail(octet=b"x", head=b""):
    return b"Subject: large\r\n" + head + b"\r\n" + (octet * 76 + b"\r\n") * (LARGE // 78)


def asked(port, path):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
    return client


def read(port, path):
    with asked(port, path) as client, client.makefile("rb") as answer:
        return answer.read()


@pytest.mark.parametrize("kind", ["", "/raw", "/part/1"])
def test_answers_nobody_reads_take_no_memory(tmp_path, kind):
    with server(tmp_path) as (pid, smtp, http), contextlib.ExitStack() as stack:
        for _ in range(4):
            mailed(smtp, large_mail())
        names = re.findall(rb'"ID":"(\w+)"', read(http, b"/api/v1/messages"))
        assert len(names) == 4
        for number in range(100):
            path = b"/api/v1/message/%b%b" % (names[number % 4], kind.encode())
            stack.enter_context(asked(http, path))
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert min(healthy(http) for _ in range(3)) < LATEST_SECONDS
            mailed(smtp)
        assert peak_kib(pid) < MEMORY_KIB


def test_a_slow_reader_gets_everything_of_a_large_message(tmp_path):
    with server(tmp_path) as (_pid, smtp, http):
        sent = large_mail()
        mailed(smtp, sent)
        with asked(http, b"/api/v1/message/latest/raw") as client:
            answer = bytearray()
            while part := client.recv(16384):
                answer += part
                time.sleep(0.024)  # it takes longer than a request may
        assert answer.endswith(sent)


def test_a_look_at_a_large_text_stops_nobody(tmp_path):
    head = b"Content-Type: text/plain; charset=cp874\r\nContent-Transfer-Encoding: 8bit\r\n"
    with server(tmp_path) as (_pid, smtp, http):
        mailed(smtp, large_mail(b"\xff", head))
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(asked(http, b"/api/v1/message/latest"))
            slowest = max(healthy(http) for _ in range(50))
        answer = read(http, b"/api/v1/message/latest")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"\\ufffd") == 76 * (LARGE // 78)
        assert slowest < 2  # the decoder's own part is bounded in `mime`
