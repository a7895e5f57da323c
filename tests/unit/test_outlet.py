"""Standard output that is read late, never, or no more."""

import contextlib
import fcntl
import io
import os
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from prixfixe.telemetry.log_output import MAX_BYTES, OutputThread
from tests.unit.test_process import READY


@pytest.fixture
def pipe():
    """A pipe of one page, as file objects that do not buffer."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:
        yield reader, writer


def lines_until(reader, last):
    """Read lines to the one that is wanted."""
    found, buffered = [], io.BufferedReader(reader)
    while found[-1:] != [last]:
        found.append(buffered.readline().decode().rstrip("\n"))
    buffered.detach()
    return found


def test_lines_leave_in_order_and_finish_waits_for_them(pipe):
    reader, writer = pipe
    output = OutputThread(writer.fileno(), "ascii")
    for number in range(20):
        output.write(f"{number}\n")
    output.write("é\n")
    assert output.drain(20)
    writer.close()
    assert reader.read().split() == [b"%d" % number for number in range(20)] + [b"\\xe9"]


def test_nobody_waits_for_a_reader_that_stalls(pipe):
    reader, writer = pipe
    output = OutputThread(writer.fileno())
    dropped, resumed, has_resumed = [], [], threading.Event()
    output.on_dropped = dropped.append

    def told(count):
        resumed.append(count)
        output.write("end\n")
        has_resumed.set()

    output.on_resumed = told
    line = "x" * 99 + "\n"
    while not dropped:
        output.write(line * 100)
    output.write(line * 7000)
    assert dropped == [100, 7000]
    assert not output.drain(0)
    found = lines_until(reader, "end")
    assert found == [line.rstrip()] * (MAX_BYTES // 10_000 * 100) + ["end"]
    assert has_resumed.wait(20)
    assert resumed == [7100]
    assert output.drain(20)
    output.write("later\n")
    assert reader.read(6) == b"later\n"
    assert dropped == [100, 7000]


def test_what_comes_before_the_first_line_is_held_and_follows_it(pipe):
    reader, writer = pipe
    output = OutputThread(writer.fileno(), is_held=True)
    output.write("second\n")
    output.write("third\n")
    output.release("first\n")
    output.write("fourth\n")
    assert output.drain(20)
    assert reader.read(4096).split() == [b"first", b"second", b"third", b"fourth"]


def test_what_is_held_is_written_though_no_first_line_comes(pipe):
    reader, writer = pipe
    output = OutputThread(writer.fileno(), is_held=True)
    output.write("second\n")
    assert output.drain(20)
    assert reader.read(4096) == b"second\n"


def test_what_is_held_is_bounded_and_what_is_beyond_is_counted_and_told(pipe):
    reader, writer = pipe
    output = OutputThread(writer.fileno(), is_held=True)
    dropped, resumed = [], []
    output.on_dropped, output.on_resumed = dropped.append, resumed.append
    line = "x" * 99 + "\n"
    for _ in range(MAX_BYTES // 10_000 + 2):
        output.write(line * 100)
    assert dropped == [100, 100]
    output.release("first\n")
    found = lines_until(reader, "first")
    found += [reader.read(1) and "x"]
    assert found == ["first", "x"]
    rest = threading.Thread(target=reader.readall)
    rest.start()
    assert output.drain(20)
    assert resumed == [200]
    writer.close()  # the reader meets the end, before the pipe is closed under it
    rest.join()


def test_a_reader_that_went_away_holds_nothing(pipe):
    reader, writer = pipe
    output = OutputThread(writer.fileno())
    reader.close()
    output.write("x\n" * 10_000)
    assert output.drain(20)


def test_a_descriptor_that_another_made_non_blocking_loses_nothing(pipe):
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)
    output = OutputThread(writer.fileno())
    for number in range(10_000):
        output.write(f"{number}\n")
    assert lines_until(reader, "9999") == [str(number) for number in range(10_000)]


class Disk:
    """What a descriptor's writes meet: so many octets of room, then none until it is given more."""

    def __init__(self, monkeypatch):
        self.room, self.kept = 24, b""
        monkeypatch.setattr(os, "write", self.write)

    def write(self, _descriptor, octets):
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = bytes(octets[: self.room])
        self.kept += taken
        self.room -= len(taken)
        return len(taken)


def test_what_a_full_disk_did_not_take_is_counted_told_and_no_half_line_is_glued_to(monkeypatch):
    disk, dropped, resumed = Disk(monkeypatch), [], []
    output = OutputThread(99)
    output.on_dropped, output.on_resumed = dropped.append, resumed.append
    for number in range(4):
        output.write(f'{{"record":{number}}}\n')
        assert output.drain(20)
    disk.room = 100
    output.write("later\n")
    assert output.drain(20)
    assert disk.kept == b'{"record":0}\n{"record":1\nlater\n'
    assert dropped == [1, 1, 1]
    assert resumed == [3]


def test_one_who_fails_to_be_told_does_not_end_the_writing(monkeypatch):
    disk = Disk(monkeypatch)
    disk.room = 0
    output = OutputThread(99)
    output.on_resumed = lambda _: 1 / 0
    output.write("lost\n")
    assert output.drain(20)
    disk.room = 100
    output.write("a\n")
    assert output.drain(20)
    output.write("b\n")
    assert output.drain(20)
    assert disk.kept == b"a\nb\n"


TOLD = re.compile(rb'"records dropped","suppressed":(\d+)')
SERVE = """
import sys
from prixfixe.cli.main import main as cli; from prixfixe.telemetry import log_output as linesink
linesink.MAX_BYTES = 8192
sys.exit(cli(["serve"]))
"""


def read_until(reader, find, text=b""):
    """Read on until there is what is looked for; return that, and all that was read."""
    while not (found := find(text)):
        more = reader.read(4096)
        assert more, text
        text += more
    return found, text


class Unread:
    """A server whose output nobody reads once it is ready; `text` is what it said by then."""

    def __init__(self, process, reader):
        self.process, self.reader = process, reader
        ready, self.text = read_until(reader, lambda text: READY.search(text.decode()))
        self.smtp, self.http = ready[1].rsplit(":", 1), ready[2]


@pytest.fixture
def unread(pipe, tmp_path):
    """Run a server that holds little."""
    reader, writer = pipe
    env = {name: value for name, value in os.environ.items() if not name.startswith("SMTP_")}
    env |= {"SMTP_PORT": "0", "SMTP_HTTP_PORT": "0", "SMTP_BIND": "127.0.0.1"}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        env=env | {"SMTP_STORE": "memory:"},
        cwd=tmp_path,
        stdout=writer,
    )
    writer.close()
    try:
        yield Unread(server, reader)
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        server.wait()


def test_a_server_whose_output_nobody_reads_serves_and_stops(unread):
    for _ in range(100):  # each says more than 150 octets, and the pipe takes 4096
        with smtplib.SMTP(*unread.smtp, timeout=20) as smtp:
            assert smtp.noop()[0] == 250
    with urllib.request.urlopen(f"http://{unread.http}/livez", timeout=20) as answer:
        assert answer.status == 200
    unread.process.send_signal(signal.SIGTERM)
    assert unread.process.wait(30) == 0


def dropped(http):
    """Return the count that a server shows."""
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=20) as answer:
        found = re.search(
            r"^prixfixe_log_records_dropped_total (\S+)", answer.read().decode(), re.MULTILINE
        )
    return float(found[1])


def test_what_was_dropped_is_counted_and_told(unread):
    sessions = counted = 0
    while not counted:
        sessions += 1
        smtplib.SMTP(*unread.smtp, timeout=20).quit()
        counted = dropped(unread.http)
    told, text = read_until(unread.reader, TOLD.findall, unread.text)
    assert int(told[0]) >= counted
    unread.process.send_signal(signal.SIGTERM)
    text += unread.reader.readall()
    assert text.count(b'"session ended"') + sum(map(int, TOLD.findall(text))) == sessions
    assert b'"stopped"' in text.splitlines()[-1]


def test_the_last_record_is_out_when_a_server_has_ended(unread):
    for _ in range(20):
        smtplib.SMTP(*unread.smtp, timeout=20).quit()
    unread.process.send_signal(signal.SIGTERM)
    text = unread.text + unread.reader.readall()
    assert unread.process.wait(30) == 0
    assert text.count(b'"session ended"') == 20
    assert b'"stopped"' in text.splitlines()[-1]


def test_a_server_without_a_standard_output_serves(tmp_path):
    command = f'exec "{sys.executable}" -m prixfixe serve >&-'
    variables = {"SMTP_STORE": f"sqlite:{tmp_path}/mail.db", "SMTP_PORT": "0"}
    variables |= {"SMTP_BIND": "127.0.0.1", "SMTP_HTTP_PORT": "off"}
    with subprocess.Popen(
        ["sh", "-c", command], env={**os.environ, **variables}, stderr=subprocess.PIPE
    ) as server:
        while not (tmp_path / "mail.db").exists() and server.poll() is None:
            time.sleep(0.01)
        server.terminate()
        assert server.communicate(timeout=20)[1] == b""
    assert server.returncode == 0
