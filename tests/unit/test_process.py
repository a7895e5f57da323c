"""The process as users run it: start, ready line, signals, exit codes, commands."""

import contextlib
import json
import os
import platform
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from prixfixe import __version__
from prixfixe.auth.hashes import hash_password
from prixfixe.runtime import threads
from prixfixe.server import descriptors
from prixfixe.tls.self_signed import make_pair
from tests.conftest import OWN_HOST, PATIENCE
from tests.support import log_records as records

READY = re.compile(
    r"^prixfixe ready smtp=(\S+)(?: smtps=\S+)? http=(\S+) store=(\S+)$", re.MULTILINE
)


class Process:
    """`prixfixe serve` in a folder of its own."""

    def __init__(self, folder, files=None, **variables):
        """`files` is how many descriptors the process may have."""
        self.folder = folder
        limit = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"] if files else []
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SMTP_")},
            "SMTP_PORT": "0",
            "SMTP_BIND": "127.0.0.1",
            "SMTP_HTTP_PORT": "0",
            "SMTP_STORE_MIN_FREE": "0",
            **variables,
        }
        self.output = (folder / "output").open("w+")
        self.process = subprocess.Popen(
            [*limit, sys.executable, "-m", "prixfixe"],
            env=self.env,
            cwd=folder,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def text(self):
        return (self.folder / "output").read_text()

    def ready(self):
        """Wait for the ready line."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            match = READY.search(self.text())
            if match:
                self.smtp, self.http, self.store = match.groups()
                return self
            assert self.process.poll() is None, self.text()
            time.sleep(0.01)
        raise AssertionError(self.text())

    @property
    def port(self):
        return int(self.smtp.rpartition(":")[2])

    def command(self, *words):
        """Run another command with the same settings and the real ports."""
        env = self.env | {
            "SMTP_PORT": str(self.port),
            "SMTP_HTTP_PORT": self.http.rpartition(":")[2],
        }
        return subprocess.run(
            [sys.executable, "-m", "prixfixe", *words],
            env=env,
            cwd=self.folder,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def process(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(**variables):
            folder = tmp_path / str(time.monotonic_ns())
            folder.mkdir()
            one = Process(folder, **variables)

            def end():
                if one.process.poll() is None:
                    one.process.kill()
                    one.process.wait()
                one.output.close()
                assert records.faults_of_output(one.text()) == []

            stack.callback(end)
            return one

        yield start


def send(port, body=b"Subject: x\r\n\r\nhi\r\n"):
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as smtp:
        smtp.sendmail("a@x.test", ["b@y.test"], body)


SHORTAGES = [
    (675, {}, (676, 99)),
    (676, {}, None),
    (100, {}, (676, 0)),
    (739, {"SMTP_STORE": "maildir:mail"}, (740, 99)),
    (740, {"SMTP_STORE": "maildir:mail"}, None),
    (1000, {"SMTP_MAX_CONNECTIONS": "2000"}, (2576, 424)),
]


@pytest.mark.parametrize(("files", "variables", "expected"), SHORTAGES)
def test_too_few_descriptors_are_told_at_the_start(process, files, variables, expected):
    server = process(files=files, SMTP_LOG_FORMAT="json", **variables).ready()
    send(server.port)
    text = server.text()
    found = [json.loads(line) for line in text.splitlines() if "too few descriptors" in line]
    if expected is None:
        assert found == []
        return
    (record,) = found
    assert (record["files"], record["needed"], record["connections"]) == (files, *expected)
    needed, fitting = expected
    assert f"(ulimit -n, nofile) to {needed}" in record["reason"]
    assert record["reason"].endswith(f"SMTP_MAX_CONNECTIONS to {fitting}") == bool(fitting)


def test_without_http_fewer_descriptors_are_needed(process):
    server = process(files=164, SMTP_LOG_FORMAT="json", SMTP_HTTP_PORT="off").ready()
    assert "too few descriptors" not in server.text()


@pytest.mark.parametrize("store", ["sqlite:mail/x.db", "maildir:mail"])
def test_the_settings_that_are_said_to_fit_do_fit(process, store):
    """With as many clients as fit, and more who ask over HTTP, mail is kept and read."""
    files = 512 + descriptors.OWN_FILES + descriptors.GROUP_FILES + 10
    own = files - 512 - descriptors.OWN_FILES - (64 if store.startswith("maildir") else 0)
    server = process(files=files, SMTP_STORE=store, SMTP_MAX_CONNECTIONS=str(own)).ready()
    assert "too few descriptors" not in server.text()
    with contextlib.ExitStack() as stack:
        http = ("127.0.0.1", int(server.http.rpartition(":")[2]))
        for _ in range(512):
            stack.enter_context(socket.create_connection(http))
        clients = [
            stack.enter_context(smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE))
            for _ in range(own)
        ]
        assert all(one.noop()[0] == 250 for one in clients)
        clients[-1].sendmail("a@x.test", ["b@y.test"], b"Subject: x\r\n\r\nhi\r\n")
        with urllib.request.urlopen(f"http://{server.http}/api/v1/messages") as answer:
            assert json.load(answer)["total"] == 1


def test_first_mail_is_accepted_and_shown_with_no_settings(process):
    server = process().ready()
    assert server.store == "sqlite:mail/prixfixe.db"
    send(server.port, b"Subject: =?utf-8?q?gr=C3=BCn?=\r\n\r\n.dot\r\n")
    listed = server.command("messages").stdout.decode()
    assert "<a@x.test>  b@y.test  " in listed
    assert listed.endswith("grün\n")
    record = json.loads(server.command("messages", "--json", "--to", "B@Y.test").stdout)
    assert record["envelope"]["recipients"] == [["b@y.test", []]]
    assert server.command("messages", "--to", "nobody@y.test").stdout == b""
    shown = server.command("show", "latest").stdout
    assert shown == server.command("show", record["id"]).stdout
    assert shown.startswith(b"Return-Path: <a@x.test>\r\nReceived: ")
    assert shown.endswith(b"\r\n\r\n.dot\r\n")
    assert server.command("show", "nope").returncode == 1


def test_check_and_wait(process, closed_port):
    server = process().ready()
    told = server.command("check", "-v").stdout.decode().splitlines()
    assert told[0] == f"HTTP/1.1 200 OK (prixfixe {__version__}, store sqlite)"
    assert told[1].startswith("220 ")
    assert server.command("wait", "-v").stdout.decode().splitlines()[0] == told[0]
    assert server.command("wait", "--timeout", "5").returncode == 0
    assert server.command("check", "--smtp", server.smtp, "--http", server.http).returncode == 0
    server.http = f"127.0.0.1:{closed_port}"  # its own may be another's as soon as it has ended
    failed = server.command("check")
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert b"cannot connect" in failed.stderr
    assert server.command("wait", "--timeout", "0.2").returncode == 1


def test_stopping_loses_nothing_and_exits_0(process):
    server = process(SMTP_BIND=OWN_HOST, SMTP_SHUTDOWN_TIMEOUT="60").ready()
    with smtplib.SMTP(OWN_HOST, server.port, timeout=PATIENCE) as smtp:
        smtp.helo()
        smtp.mail("a@x.test")
        smtp.rcpt("b@y.test")
        assert smtp.docmd("DATA")[0] == 354
        server.process.send_signal(signal.SIGTERM)
        while '"event":"stopping"' not in server.text():
            time.sleep(0.01)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((OWN_HOST, server.port), PATIENCE)
        smtp.send(b"kept\r\n.\r\n")
        assert smtp.getreply()[0] == 250
        assert smtp.getreply()[0] == 421
        smtp.close()
    assert server.process.wait(PATIENCE) == 0
    assert b"kept" in server.command("show", "latest").stdout


SLOW = """
import signal

print("importing", flush=True)
signal.pause()
"""


@pytest.fixture
def importing(tmp_path):
    """Start commands whose imports never end; yield one that has begun them."""
    (tmp_path / "argparse.py").write_text(SLOW)
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    with contextlib.ExitStack() as stack:

        def start(*words):
            command = [sys.executable, "-m", "prixfixe", *words]
            one = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            stack.enter_context(one)
            stack.callback(one.kill)
            assert one.stdout.readline() == b"importing\n"
            return one

        yield start


@pytest.mark.parametrize(
    ("words", "number", "code"),
    [
        ((), signal.SIGTERM, 0),
        (("serve",), signal.SIGTERM, 0),
        (("serve",), signal.SIGINT, 130),
        (("backup", "x"), signal.SIGTERM, -signal.SIGTERM),
    ],
)
def test_a_server_told_to_stop_while_it_imports_does(importing, words, number, code):
    """In a container it is PID 1, which never sees a signal that has no handler."""
    one = importing(*words)
    one.send_signal(number)
    assert one.wait(PATIENCE) == code
    assert one.stderr.read() == b""


def test_a_second_signal_hurries(process):
    server = process(SMTP_SHUTDOWN_TIMEOUT="60").ready()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        text = b""
        while b"354" not in text:
            text += client.recv(4096)
        server.process.send_signal(signal.SIGTERM)
        while '"event":"stopping"' not in server.text():
            time.sleep(0.01)
        assert server.end() == 0


def test_mail_survives_sigkill_and_a_restart(process):
    server = process().ready()
    send(server.port)
    server.end(signal.SIGKILL)
    again = Process(server.folder, **{k: v for k, v in server.env.items() if k.startswith("SMTP_")})
    try:
        again.ready()
        send(again.port)
        assert len(again.command("messages").stdout.splitlines()) == 2
    finally:
        again.process.kill()
        again.process.wait()
        again.output.close()


def test_sighup_reloads(process):
    server = process(SMTP_TLS_CERT="self-signed").ready()
    server.process.send_signal(signal.SIGHUP)
    while '"event":"reloaded"' not in server.text():
        assert server.process.poll() is None
        time.sleep(0.01)
    assert server.end() == 0


def test_every_output_line_but_the_ready_line_is_json(process):
    server = process().ready()
    send(server.port)
    server.end()
    lines = [line for line in server.text().splitlines() if not line.startswith("prixfixe ready ")]
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["ready", "message kept", "session ended", "stopping", "stopped"]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    ("variables", "events"),
    [
        ({}, ["ready"]),
        ({"SMTP_TLS_MIN_VERSION": "1.3"}, ["setting without effect", "ready"]),
        ({"SMTP_TLS_CERT": "self-signed"}, ["certificate in use", "ready"]),
        (
            {"SMTP_AUTH_USERS": "u", "SMTP_TLS_CERT": "self-signed", "SMTP_TLS_PORT": "0"},
            ["setting without effect", "certificate in use", "ready"],
        ),
    ],
    ids=["plain", "without effect", "TLS", "both"],
)
def test_the_ready_line_is_the_first_and_the_records_before_it_follow(
    process, form, variables, events
):
    server = process(SMTP_LOG_FORMAT=form, **variables).ready()
    assert server.end() == 0
    first, *others = server.text().splitlines()
    assert READY.fullmatch(first)
    events = [*events, "stopping", "stopped"]
    if form == "json":
        assert [json.loads(one)["event"] for one in others] == events
    else:
        starts = [one[33:] for one in others]  # behind time and level
        assert all(map(str.startswith, starts, events)), starts
        assert len(starts) == len(events)
        assert not [one for one in others if "None" in one]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_start_that_fails_writes_its_records_and_then_the_reason(process, form):
    server = process(
        SMTP_LOG_FORMAT=form, SMTP_TLS_MIN_VERSION="1.3", SMTP_STORE="maildir:/dev/null/x"
    )
    assert server.process.wait(PATIENCE) == 3
    warning, reason = server.text().splitlines()
    assert "SMTP_TLS_MIN_VERSION has no effect" in warning
    assert reason.startswith("prixfixe: ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_start_that_is_stopped_writes_its_records(process, secrets, number, code):
    secrets.hang("users")
    server = process(SMTP_STORE="memory:", SMTP_STORE_MIN_FREE="1TiB", **secrets.variables)
    with secrets.read():
        assert server.end(number) == code
    (warning,) = server.text().splitlines()
    assert json.loads(warning)["event"] == "setting without effect"


def test_idle_memory_and_start(process):
    server = process().ready()
    status = (server.folder / "output").parent
    with open(f"/proc/{server.process.pid}/status") as file:
        rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    assert status.exists()
    assert rss < 60 * 1024


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"SMTP_PORT": "x", "SMTP_TIMEOUT": "y"}, 2, ["SMTP_PORT='x'", "SMTP_TIMEOUT='y'"]),
        (
            {"SMTP_STORE": "sqlite:/proc/none/x.db"},
            3,
            ["/proc/none", f"{os.geteuid()}:{os.getegid()}"],
        ),
        ({"SMTP_STORE": "maildir:/dev/null/x"}, 3, ["/dev/null"]),
        ({"SMTP_TLS_CERT": "/nowhere.pem", "SMTP_TLS_KEY": "/nowhere.key"}, 2, ["SMTP_TLS_CERT"]),
        (
            {"SMTP_AUTH": "required", "SMTP_AUTH_USERS": "/nowhere", "SMTP_AUTH_INSECURE": "1"},
            2,
            ["SMTP_AUTH_USERS"],
        ),
    ],
    ids=["settings", "sqlite", "maildir", "certificate", "users"],
)
def test_a_start_that_fails_says_why(process, variables, code, words):
    server = process(**variables)
    assert server.process.wait(PATIENCE) == code
    for word in words:
        assert word in server.text()
    assert "Traceback" not in server.text()


def test_a_thread_too_many_is_told_with_the_remedy(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.raises(OSError, match=r"no further thread can be started; raise the limit on"):
        threads.start("one", int)


@pytest.mark.parametrize("name", ["SMTP_PORT", "SMTP_HTTP_PORT"])
def test_a_port_in_use_is_exit_3_and_named(process, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = process(**{name: str(port)})
        assert server.process.wait(PATIENCE) == 3
    told = f"prixfixe: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert told in server.text().splitlines()


def test_a_store_in_use_is_exit_3_and_named(process):
    first = process().ready()
    second = process(SMTP_STORE=f"sqlite:{first.folder}/mail/prixfixe.db")
    assert second.process.wait(PATIENCE) == 3
    assert str(first.process.pid) in second.text()


def test_a_setting_without_effect_is_a_warning(process):
    server = process(SMTP_STORE="memory:", SMTP_STORE_MIN_FREE="1TiB").ready()
    server.end()
    assert "SMTP_STORE_MIN_FREE has no effect: a memory: or discard: store" in server.text()


def test_an_unknown_setting_stops_the_start(process):
    server = process(SMTP_PROT="1")
    assert server.process.wait(PATIENCE) == 2
    assert "did you mean SMTP_PORT?" in server.text()


def test_http_answers_in_the_same_process(process):
    server = process().ready()
    send(server.port)
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=PATIENCE) as answer:
        assert b'result="accepted"} 1.0' in answer.read()


ABOVE = """
import re
from prixfixe.server.process import give_back_memory

def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

give_back_memory()
del (large := [b"x" * (24 << 20)])[0]  # glibc takes what is smaller from its heap from now on
before = held()
large = b"x" * (20 << 20)
above = b"x" * (200 << 10)
assert held() - before > 20 << 20
del large
print(held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library of C")
def test_the_memory_of_a_large_message_goes_back_whatever_lies_above_it():
    ran = subprocess.run([sys.executable, "-c", ABOVE], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 2 << 20


# A pipe is refused where a file is named, but a disk that is gone hangs like one: this has the server
# take the pipes of a folder for files, and wait for whoever writes to them.
HANGING = """
import os, stat
real = os.fstat
def fstat(descriptor):
    found, path = real(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
    if not (stat.S_ISFIFO(found.st_mode) and path.startswith(FOLDER)):
        return found
    writer = os.open(path, os.O_RDONLY)
    os.dup2(writer, descriptor)
    os.close(writer)
    return os.stat_result((stat.S_IFREG | 0o600, *tuple(found)[1:]))
os.fstat = fstat
"""


class Secrets:
    """A certificate, its key and a users file; one of them may be a pipe nobody writes to."""

    def __init__(self, folder):
        self.folder = folder
        for name, text in zip(("cert", "key"), make_pair("x.test"), strict=True):
            (folder / name).write_text(text)
        (folder / "users").write_text(f"ann:{hash_password('secret')}\n")
        self.variables = {
            "SMTP_TLS_CERT": str(folder / "cert"),
            "SMTP_TLS_KEY": str(folder / "key"),
            "SMTP_AUTH": "optional",
            "SMTP_AUTH_USERS": str(folder / "users"),
            "PYTHONPATH": str(folder / "hanging"),
        }
        (folder / "hanging").mkdir()
        code = f"FOLDER = {str(folder)!r}\n{HANGING}"
        (folder / "hanging" / "sitecustomize.py").write_text(code)

    def hang(self, name):
        """Have whoever reads this file wait, as for a disk that is gone."""
        self.pipe = self.folder / name
        self.pipe.unlink()
        os.mkfifo(self.pipe)

    @contextlib.contextmanager
    def read(self):
        """Wait until somebody is reading the pipe; keep them at it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                writing = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:  # Nobody has it open.
                assert time.monotonic() < deadline, "nobody reads it"
                time.sleep(0.01)
        try:
            yield
        finally:
            os.close(writing)


@pytest.fixture
def secrets(tmp_path):
    return Secrets(tmp_path)


@pytest.mark.parametrize("name", ["cert", "key", "users"])
@pytest.mark.parametrize("is_asked", [False, True], ids=["a look", "SIGHUP"])
def test_a_file_whose_reading_does_not_end_holds_no_stop(process, secrets, name, is_asked):
    server = process(**secrets.variables).ready()
    secrets.hang(name)
    if is_asked:
        server.process.send_signal(signal.SIGHUP)
    with secrets.read():
        send(server.port)
        assert server.end() == 0


@pytest.mark.parametrize("name", ["cert", "key", "users"])
def test_a_file_whose_reading_does_not_end_holds_no_start_that_is_stopped(process, secrets, name):
    secrets.hang(name)
    server = process(**secrets.variables)
    with secrets.read():
        assert server.end() == 0


def test_the_kernel_knows_the_threads_by_name(process, secrets):
    server = process(**secrets.variables).ready()
    left = {"stdout", "store-writer", "prixfixe-read", "renew-tls", "renew-auth"}
    deadline = time.monotonic() + PATIENCE
    while left:  # each names itself, when it is given a turn
        assert time.monotonic() < deadline, left
        for task in Path(f"/proc/{server.process.pid}/task").glob("*/comm"):
            left.discard(task.read_text().strip())
