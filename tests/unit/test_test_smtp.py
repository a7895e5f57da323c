"""scripts/test-smtp.sh against the server, and against servers that answer wrongly at each step."""

import asyncio
import contextlib
import email
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP

from prixfixe.cli.main import main
from tests.support.script_runner import Shell

TOOLS = ["bash", "python3", "nc"]
# What a server says after each line it waits for.
SCRIPT = [
    ("greeting", b"220 fake\r\n", None),
    ("EHLO", b"250-fake\r\n250 HELP\r\n", b"EHLO"),
    ("MAIL", b"250 2.1.0 OK\r\n", b"MAIL"),
    ("RCPT", b"250 2.1.5 OK\r\n", b"RCPT"),
    ("DATA", b"354 go\r\n", b"DATA"),
    ("end of data", b"250 2.0.0 OK queued as abc\r\n", b"."),
    ("QUIT", b"221 bye\r\n", b"QUIT"),
]
STEPS = [step for step, _, _ in SCRIPT]


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


async def send(shell, port, host="127.0.0.1", **environ):
    """Run the script beside the loop in which the server runs."""
    return await asyncio.to_thread(shell.run, "test-smtp.sh", host, str(port), **environ)


class Fake:
    """A server in a thread that gives one client these answers and then goes away, or stays."""

    def __init__(self, answers, *, is_staying=False):
        self.answers, self.is_staying, self.heard = answers, is_staying, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(20)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.talk)

    async def __aenter__(self):
        self.thread.start()
        return self

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.thread.join, 30)
        self.listener.close()

    def talk(self):
        client, _ = self.listener.accept()
        with contextlib.suppress(ConnectionError), client, client.makefile("rb") as lines:
            for step, _, awaited in SCRIPT:
                if self.answers.get(step) is None:
                    break
                self.hear(lines, awaited)
                client.sendall(self.answers[step])
            if self.is_staying:
                lines.read()

    def hear(self, lines, awaited):
        line = None
        while awaited and line != b"" and not (line or b"").startswith(awaited):
            line = lines.readline()
            self.heard.append(line)


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_message_is_kept_by_whatever_tool_there_is(start, shell, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on this machine")
    shell.only(tool)
    running = await start()
    done = await send(shell, running.port)
    assert done.returncode == 0, done.stderr
    [message] = running.messages
    assert done.stdout == f"{message.id}\n"
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()[1:-1]] == STEPS
    parsed = email.message_from_bytes(message.body)
    assert parsed["Subject"] == "test-smtp.sh"
    assert parsed["Date"]
    assert parsed["Message-ID"]
    assert message.body.endswith(b"\r\n.a line that begins with a dot\r\n")
    assert message.body.count(b"\n") == message.body.count(b"\r\n")


async def test_it_goes_where_the_settings_say(start, shell):
    running = await start()
    shell.dotenv(
        f"SMTP_PORT={running.port}\nPRIXFIXE_PUBLISH=0.0.0.0\nPRIXFIXE_TEST_TO=postmaster@here.test\n"
    )
    done = await asyncio.to_thread(shell.run, "test-smtp.sh")
    assert done.returncode == 0, done.stderr
    assert [one.address for one in running.messages[0].envelope.recipients] == [
        "postmaster@here.test"
    ]


async def test_a_refused_recipient_is_told(start, shell):
    running = await start(SMTP_RECIPIENTS="@example.net")
    done = await send(shell, running.port)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(
        "test-smtp.sh: RCPT: expected 250, got 550 5.1.1 "
    )


@pytest.mark.parametrize("step", STEPS)
async def test_a_wrong_code_names_the_step(shell, step):
    answers = {name: answer for name, answer, _ in SCRIPT} | {
        step: b"451-4.3.0 one\r\n451 4.3.0 two\r\n"
    }
    server = Fake(answers)
    async with server:
        done = await send(shell, server.port)
    expected = {name: answer[:3].decode() for name, answer, _ in SCRIPT}[step]
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last == f"test-smtp.sh: {step}: expected {expected}, got 451-4.3.0 one"


@pytest.mark.parametrize("step", STEPS)
async def test_a_connection_that_ends_names_the_step(shell, step):
    answers = {name: answer for name, answer, _ in SCRIPT} | {step: None}
    server = Fake(answers)
    async with server:
        done = await send(shell, server.port)
    assert done.returncode == 1
    assert f"test-smtp.sh: {step}: expected " in done.stderr
    assert "the end of the connection" in done.stderr


async def test_replies_are_awaited_before_the_next_line_is_sent(shell):
    server = Fake({name: answer for name, answer, _ in SCRIPT})
    async with server:
        done = await send(shell, server.port)
    assert (done.returncode, done.stdout) == (0, "abc\n")
    verbs = [line.split()[0] for line in server.heard if line.strip() and b": " not in line]
    assert verbs[:3] == [b"EHLO", b"MAIL", b"RCPT"]
    assert verbs[-1] == b"QUIT"
    assert all(line.endswith(b"\r\n") for line in server.heard)


@pytest.mark.parametrize(
    "answer", [b"250 2.0.0 OK\r\n", b"250 2.0.0 OK queued as \r\n", b"250\r\n"]
)
async def test_any_server_s_acknowledgement_is_one(shell, answer):
    """Which id a server gives, and whether it tells it, is its own affair."""
    server = Fake({name: text for name, text, _ in SCRIPT} | {"end of data": answer})
    async with server:
        done = await send(shell, server.port)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("Accepted; the server told no id\n")


async def test_another_server_is_tested_by_script_and_by_check(shell, capsys):
    """Stock aiosmtpd."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), loop=loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        done = await send(shell, port)
        words = ["check", "--smtp", f"127.0.0.1:{port}", "--verbose"]
        assert await asyncio.to_thread(main, words) == 0
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Python SMTP" in capsys.readouterr().out


async def test_a_connection_that_stays_after_quit_fails(shell):
    server = Fake(
        {name: text for name, text, _ in SCRIPT} | {"QUIT": b"221 bye\r\n250 more\r\n"},
        is_staying=True,
    )
    async with server:
        done = await send(shell, server.port, PRIXFIXE_TEST_SECONDS="20")
    assert done.returncode == 1
    assert "after QUIT: expected the end of the connection, got 250 more" in done.stderr


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_silent_server_is_not_waited_for_for_ever(shell, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on this machine")
    shell.only(tool)
    server = Fake({}, is_staying=True)
    async with server:
        done = await send(shell, server.port, PRIXFIXE_TEST_SECONDS="1")
    assert done.returncode == 1
    assert "greeting: expected 220, got no answer within 1 seconds" in done.stderr


@pytest.mark.parametrize("tool", TOOLS)
async def test_nobody_there_is_told_with_the_tool_s_reason(shell, tool, closed_port):
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on this machine")
    shell.only(tool)
    done = await send(shell, closed_port)
    assert done.returncode == 1
    assert f"test-smtp.sh: cannot connect to 127.0.0.1 port {closed_port}" in done.stderr
    # nc is silent unless asked in ways that differ.
    assert done.stderr.endswith("refused\n") or tool == "nc"


@pytest.mark.parametrize("tool", ["bash", "python3"])
async def test_a_host_that_is_none_is_named(shell, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on this machine")
    shell.only(tool)
    done = await send(shell, 25, host="nowhere.invalid")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("test-smtp.sh: cannot connect to nowhere.invalid port 25: ")
    assert "not known" in last or "resolution" in last or "No address" in last


async def test_without_a_tool_it_says_which(shell):
    shell.only()
    done = await send(shell, 2525)
    assert done.returncode == 1
    assert done.stderr == "test-smtp.sh: needs one of bash, python3 and nc: none is here\n"


async def test_nothing_is_left_behind(start, shell, tmp_path):
    scratch, seconds = tmp_path / "scratch", str(1_000_000 + os.getpid())
    scratch.mkdir()
    running = await start()
    done = await send(shell, running.port, TMPDIR=str(scratch), PRIXFIXE_TEST_SECONDS=seconds)
    assert done.returncode == 0
    assert not list(scratch.iterdir())
    assert ["sleep", seconds] not in list(commands())


def commands():
    """The words of every process of this machine."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield process.read_text(errors="replace").split("\0")[:-1]
