"""Memory under hostile input: a real process, its peak resident size."""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time

import pytest

from tests.conftest import PATIENCE

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
START = b"EHLO c\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"


@contextlib.contextmanager
def server(tmp_path, **variables):
    env = {**os.environ, "SMTP_PORT": "0", "SMTP_BIND": "127.0.0.1", "SMTP_HTTP_PORT": "off"}
    env |= {"SMTP_STORE": "discard:", **variables}
    output = tmp_path / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "prixfixe"], env=env, stdout=stream, stderr=stream, cwd=tmp_path
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not (match := re.search(r"ready smtp=\S+:(\d+)", output.read_text())):
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.01)
            yield process.pid, int(match.group(1))
        finally:
            process.terminate()
            process.wait(PATIENCE)


def peak_kib(pid, key="VmHWM"):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))


def read_until(client, code):
    text = b""
    while code not in text:
        part = client.recv(65536)
        assert part, text
        text += part
    return text


def converse(port, parts):
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(START)
        read_until(client, b"354 ")
        for part in parts:
            client.sendall(part)
        client.sendall(b"\r\n.\r\n")
        answer = client.recv(65536)
        client.sendall(b"NOOP\r\n")
        return answer, read_until(client, b"250 ")


def test_an_endless_line_moves_no_memory(tmp_path):
    with server(tmp_path, SMTP_MAX_MESSAGE_SIZE="10KB") as (pid, port):
        before = peak_kib(pid)
        answer, _ = converse(port, (b"x" * 1_000_000 for _ in range(300)))
        assert answer.startswith(b"552 ")
        assert peak_kib(pid) - before < 8 * 1024


def test_empty_lines_cost_a_small_multiple_of_the_limit(tmp_path):
    with server(tmp_path, SMTP_MAX_MESSAGE_SIZE="33MiB") as (pid, port):
        before = peak_kib(pid)
        answer, _ = converse(port, (b"\r\n" * 524_288 for _ in range(32)))
        assert answer.startswith(b"250 ")
        assert peak_kib(pid) - before < 4 * 33 * 1024


def test_an_endless_command_moves_no_memory(tmp_path):
    with server(tmp_path) as (pid, port):
        before = peak_kib(pid)
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            read_until(client, b"220 ")
            for _ in range(100):
                client.sendall(b"x" * 1_000_000)
            client.sendall(b"\r\nNOOP\r\n")
            assert b"500 " in read_until(client, b"250 ")
        assert peak_kib(pid) - before < 8 * 1024


def encrypted(port, **attributes):
    """Return a connection inside TLS that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in attributes.items():
        setattr(context, name, value)
    plain = socket.create_connection(("127.0.0.1", port), 60)
    read_until(plain, b"220 ")
    plain.sendall(b"EHLO c\r\n")
    read_until(plain, b"250 ")
    plain.sendall(b"STARTTLS\r\n")
    read_until(plain, b"220 ")
    return context.wrap_socket(plain)


TLS_KIB = 820  # what docs/limits.md says of a connection inside TLS: 0.8 MiB


def test_a_connection_inside_tls_holds_its_buffers_and_no_more(tmp_path):
    count = 40
    with server(tmp_path, SMTP_TLS_CERT="self-signed") as (pid, port):
        encrypted(port).close()
        before = peak_kib(pid, "VmRSS")
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                client = stack.enter_context(encrypted(port))
                client.sendall(START)
                read_until(client, b"354 ")
                client.sendall((b"x" * 78 + b"\r\n") * 25_000 + b".\r\n")
                read_until(client, b"250 ")
            held = peak_kib(pid, "VmRSS") - before
    assert held < count * TLS_KIB
