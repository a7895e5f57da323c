"""The command line itself: usage, exit codes, settings, passwords, the process's streams."""

import io
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from prixfixe import __version__
from prixfixe.auth.users_file import parse_users
from prixfixe.cli.main import COMMANDS, main
from prixfixe.mail.message import Envelope, Message, Recipient
from prixfixe.settings import TABLE, example
from prixfixe.stores.registry import open_store


@pytest.fixture(autouse=True)
def environ(monkeypatch):
    """Unset every setting, and Python's own; return how to set some."""
    for name in [name for name in os.environ if name.startswith(("SMTP_", "PYTHONUNBUFFERED"))]:
        monkeypatch.delenv(name)

    def set_all(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def process(*arguments, **options):
    """Run the program as users do."""
    command = [sys.executable, "-m", "prixfixe", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, timeout=30, check=False, **options)


# --- usage


def test_version(capsys):
    assert main(["version"]) == 0
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"prixfixe {__version__}\n" * 2


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(capsys, command):
    pytest.importorskip(COMMANDS[command][2].partition(":")[0])
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: prixfixe {command}" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert re.findall(r"(?m)^    ([a-z-]+(?: [a-z]+)?)(?:  |$)", shown) == list(COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["-"],
        ["--"],
        ["--nonsense"],
        ["version", "more"],
        ["show"],
        ["export", "p", "--format", "x"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: prixfixe")


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        (["serve", "--port", "99"], "SMTP_PORT"),
        (["serve", "--port=99"], "SMTP_PORT"),
        (["serve", "--smtp-http-port", "99"], "SMTP_HTTP_PORT"),
        (["messages", "--store", "memory:"], "SMTP_STORE"),
    ],
    ids=" ".join,
)
def test_an_option_that_is_a_setting_is_answered_with_its_variable(capsys, words, variable):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert f"; settings are variables: set {variable}\n" in capsys.readouterr().err


def test_an_option_that_is_no_setting_is_answered_without_one(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--fast"])
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: --fast\n")


def test_no_command_serves(environ, capsys):
    environ(SMTP_PORT="x")
    assert main([]) == 2
    assert "SMTP_PORT='x': expected a port" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "messages", "config"])
def test_every_wrong_setting_is_told_at_once(environ, capsys, command):
    environ(SMTP_PORT="x", SMTP_TIMEOUT="soon", SMTP_TLS="required")
    assert main([command]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.splitlines()[0] == "prixfixe: settings that cannot be used:"
    names = [line.split("=")[0].strip() for line in error.splitlines()[1:]]
    assert names == ["SMTP_PORT", "SMTP_TIMEOUT", "SMTP_TLS"]


def test_interrupt_exits_as_shells_expect(monkeypatch):
    def interrupt(_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("prixfixe.cli.serve.version", interrupt)
    assert main(["version"]) == 130


# --- --env-file


@pytest.fixture
def env_file(tmp_path, monkeypatch):
    """Write a file of settings; what main takes from it is gone after the test."""
    monkeypatch.setattr("os.environ", os.environ.copy())

    def write(text):
        path = tmp_path / "settings.env"
        path.write_text(text)
        return str(path)

    return write


def test_settings_come_from_the_env_file_and_the_environment_wins(environ, env_file, capsys):
    environ(SMTP_DOMAIN="mx.example.com")
    path = env_file("# ours\nexport SMTP_PORT='0' # any\nSMTP_DOMAIN=a\nPRIXFIXE_NAME=$x\n")
    assert main(["config", "--env-file", path]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["SMTP_PORT"].split() == ["0", path]
    assert rows["SMTP_DOMAIN"].split() == ["mx.example.com", "environment"]


def test_every_line_and_setting_that_is_wrong_is_told_at_once(environ, env_file, capsys):
    environ(SMTP_TIMEOUT="soon")
    path = env_file("SMTP_PORT=x\nhush hush\n\nSMTP_TLS='a\nSMTP_PROT=1\n")
    assert main(["serve", "--env-file", path]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.splitlines() == [
        "prixfixe: settings that cannot be used:",
        f"  {path} line 2: expected NAME=value",
        f"  {path} line 4: SMTP_TLS: expected a closing quote on the same line",
        "  SMTP_PORT='x': expected a port from 0 to 65535",
        "  SMTP_TIMEOUT='soon': expected seconds or a duration such as 30s or 5m, at least 0.1",
        "  SMTP_PROT=(hidden): expected a setting's name; did you mean SMTP_PORT?",
    ]


def test_an_env_file_that_cannot_be_read_is_named(tmp_path, capsys):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path, reason in [(tmp_path / "none", "No such file"), (binary, "not UTF-8")]:
        assert main(["serve", "--env-file", str(path)]) == 2
        assert f"prixfixe: --env-file {path}: expected a file that can be read ({reason}" in (
            capsys.readouterr().err
        )


def test_a_store_is_told_with_its_whole_path(environ, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    environ(SMTP_STORE="sqlite:mail/x.db")
    assert main(["messages"]) == 3
    assert f"store {tmp_path}/mail/x.db does not exist" in capsys.readouterr().err


# --- config


def test_config_shows_every_setting_with_its_source(environ, capsys, tmp_path):
    token = tmp_path / "token"
    token.write_text("hush\n")
    environ(SMTP_PORT="0", SMTP_HTTP_TOKEN_FILE=str(token), SMTP_AUTH_USERS="users")
    assert main(["config"]) == 0
    output, error = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines()}
    assert list(rows) == [setting.env for setting in TABLE]
    assert rows["SMTP_DOMAIN"] == ["localhost", "default"]
    assert rows["SMTP_PORT"] == ["0", "environment"]
    assert rows["SMTP_HTTP_TOKEN"] == ["(hidden)", str(token)]
    assert "hush" not in output
    assert error.startswith("prixfixe: SMTP_AUTH_USERS has no effect: SMTP_AUTH is off; ")


def test_config_as_json(environ, capsys):
    environ(SMTP_HTTP_TOKEN="hush", SMTP_TLS_CERT="self-signed", SMTP_TLS_PORT="465")
    assert main(["config", "--json"]) == 0
    output = capsys.readouterr().out
    rows = json.loads(output)
    assert rows["SMTP_TLS_PORT"] == {"value": 465, "source": "environment"}
    assert rows["SMTP_STRICT"] == {"value": False, "source": "default"}
    assert "hush" not in output


def test_config_example_needs_no_right_settings(environ, capsys):
    environ(SMTP_PORT="x")
    assert main(["config", "--example"]) == 0
    assert capsys.readouterr().out == example()


# --- hash-password


def typed(monkeypatch, octets):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(octets)))


@pytest.mark.parametrize("octets", ["p:ä \n".encode(), "p:ä \r\n".encode(), "p:ä ".encode()])
def test_hash_password_reads_one_line(monkeypatch, capsys, octets):
    typed(monkeypatch, octets)
    assert main(["hash-password"]) == 0
    made = capsys.readouterr().out.strip()
    users = parse_users(f"user:{made}\n".encode())
    assert users["user"].matches("p:ä ".encode())


def test_hash_password_makes_keys_for_scram(monkeypatch, capsys):
    typed(monkeypatch, b"p:x \n")
    assert main(["hash-password", "--scram"]) == 0
    made = capsys.readouterr().out.strip()
    assert made.startswith("SCRAM-SHA-256$")
    assert parse_users(f"user:{made}\n".encode())["user"].matches(b"p:x ")


@pytest.mark.parametrize(
    ("octets", "reason", "options"),
    [
        (b"\n", "first line", []),
        (b"\xff\n", "in UTF-8", []),
        (b"a\x07b\n", "without control", ["--scram"]),
    ],
)
def test_hash_password_refuses_what_is_no_password(monkeypatch, capsys, octets, reason, options):
    typed(monkeypatch, octets)
    assert main(["hash-password", *options]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert reason in error


@pytest.mark.parametrize(("again", "code"), [("secret", 0), ("secert", 2)])
def test_hash_password_asks_twice_at_a_terminal(monkeypatch, capsys, again, code):
    answers = iter(["secret", again])
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert main(["hash-password"]) == code
    assert "secret" not in "".join(capsys.readouterr())


# --- the process


@pytest.fixture
async def mail(environ, tmp_path):
    """Name a store with one message whose subject is not ASCII."""
    url = f"sqlite:{tmp_path / 'mail.db'}"
    environ(SMTP_STORE=url)
    store = open_store(url)
    await store.open()
    envelope = Envelope("a@b", (Recipient("c@d"),))
    await store.put(
        Message("1" * 28, 0.0, envelope, "Subject: 日本\r\n\r\n".encode() + b"x" * 300_000)
    )
    await store.close()


@pytest.mark.parametrize("command", [["messages"], ["show", "latest"]], ids=" ".join)
def test_a_closed_pipe_ends_quietly(mail, command):
    reader, writer = os.pipe()
    os.close(reader)
    done = process(*command, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", [["messages"], ["show", "latest"]], ids=" ".join)
def test_a_full_disk_under_the_output_exits_1(mail, command):
    with open("/dev/full", "wb") as full:
        done = process(*command, stdout=full)
    expected = b"prixfixe: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_an_error_outside_the_output_is_named(monkeypatch, capfd):
    def fail(_args):
        raise OSError(13, "Permission denied", "/some/where")

    monkeypatch.setattr("prixfixe.cli.serve.version", fail)
    output = os.dup(1)
    try:
        assert main(["version"]) == 1
    finally:
        os.dup2(output, 1)
        os.close(output)
    assert capfd.readouterr().err == "prixfixe: /some/where: Permission denied\n"


def test_an_unexpected_error_of_the_server_keeps_its_traceback(monkeypatch):
    def fail(_args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("prixfixe.cli.serve.serve", fail)
    with pytest.raises(OSError, match="Input/output"):
        main(["serve"])


def test_a_poor_character_set_is_no_obstacle(mail):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = process("messages", stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0
    assert done.stdout.endswith(b"\\u65e5\\u672c\n")


def test_serve_wait_and_stop_as_processes(environ, tmp_path):
    environ(SMTP_PORT="0", SMTP_HTTP_PORT="0", SMTP_STORE="memory:", SMTP_BIND="127.0.0.1")
    command = [sys.executable, "-m", "prixfixe"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            where = dict(word.split("=") for word in server.stdout.readline().decode().split()[2:])
            asked = process("wait", "--smtp", where["smtp"], "--http", where["http"])
            server.send_signal(signal.SIGTERM)
            assert (asked.returncode, asked.stderr) == (0, b"")
            assert server.wait(20) == 0
        finally:
            server.kill()
