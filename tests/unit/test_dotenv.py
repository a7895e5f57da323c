"""The scripts and the program read .env as compose does: the same values, or a refusal."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.settings import dotenv
from tests.support.script_runner import Shell

NAME = "SMTP_DOMAIN"
PROBE = '#!/bin/sh\nset -eu\n. "$(dirname -- "$0")/lib.sh"\nload_env\nprintenv SMTP_DOMAIN || :\n'
SERVICE = "services: {smtp: {image: x, environment: [SMTP_DOMAIN]}}\n"

ALIKE = [
    "mx.example.com",
    " mx.example.com ",
    "mx.example.com # of the office",
    "mx.example.com#1",
    "#mx",
    "# mx",
    " # mx",
    "'a'b",
    "''",
    "",
    " ",
    "a b  c",
    '"mx.example.com"',
    '"mx # 1" # a comment',
    "'mx # 1' # a comment",
    "'pa$$word'",
    r"'a\nb'",
    r"a\nb",
    "it's",
    'say "yes"',
    "a=b=c",
    "@example.com,user@example.com",
    "sqlite:/var/mail/prixfixe.db",
    "ü",
]


@pytest.fixture
def shell(tmp_path):
    shell = Shell(tmp_path)
    probe = tmp_path / "scripts" / "probe.sh"
    probe.write_text(PROBE)
    probe.chmod(0o755)
    return shell


def composed(shell):
    """Return what compose makes of the setting."""
    (shell.folder / "compose.yml").write_text(SERVICE)
    done = subprocess.run(
        [shutil.which("docker-compose"), "--project-name", "probe", "config", "--format", "json"],
        cwd=shell.folder,
        env=shell.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)["services"]["smtp"]["environment"][NAME]
    return None if value is None else value.replace("$$", "$")  # config escapes it


def read(shell, **environ):
    done = shell.run("probe.sh", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.removesuffix("\n")


def parsed(text):
    """Return what the program makes of the setting."""
    values, faults = dotenv.parse(text, "SMTP_")
    assert faults == []
    return values[NAME]


@pytest.mark.parametrize("text", ALIKE)
def test_a_value_is_what_compose_makes_of_it(shell, text):
    shell.dotenv(f"{NAME}={text}\n")
    assert read(shell) == composed(shell) == parsed(f"{NAME}={text}\n")


@pytest.mark.parametrize(
    "line",
    [
        "export SMTP_DOMAIN=a",
        "  SMTP_DOMAIN=a",
        "SMTP_DOMAIN =a",
        "\tSMTP_DOMAIN = a",
        "SMTP_DOMAIN=a\r",
    ],
)
def test_a_name_is_found_where_compose_finds_it(shell, line):
    text = f"# SMTP_DOMAIN=comment\n\nOTHER=x\n{line}\n"
    shell.dotenv(text)
    assert read(shell) == composed(shell) == parsed(text) == "a"


def test_of_two_lines_the_last_wins(shell):
    """What is appended to .env, as DEPLOYMENT.md does, holds."""
    shell.dotenv("SMTP_DOMAIN=a\nSMTP_DOMAIN=b\n")
    assert read(shell) == composed(shell) == parsed("SMTP_DOMAIN=a\nSMTP_DOMAIN=b\n") == "b"
    assert read(shell, SMTP_DOMAIN="c") == "c"


def test_the_last_line_needs_no_end(shell):
    shell.dotenv("PATH=/nowhere\nSMTP_DOMAIN=a")
    assert read(shell) == composed(shell) == "a"


def test_the_environment_wins(shell):
    shell.dotenv("SMTP_DOMAIN=a\n")
    shell.environ[NAME] = "b"
    assert read(shell) == composed(shell) == "b"
    shell.environ[NAME] = ""
    assert read(shell) == composed(shell) == ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SMTP_DOMAIN=$HOST", "single quotes"),
        ("SMTP_DOMAIN=${HOST:-x}", "single quotes"),
        ('SMTP_DOMAIN="pa$$word"', "single quotes"),
        (r'SMTP_DOMAIN="a\nb"', "single quotes"),
        ('SMTP_DOMAIN="a', "closing quote"),
        ("SMTP_DOMAIN='a", "closing quote"),
        ("SMTP_DOMAIN: a", "NAME=value"),
        ("SMTP_domain=a", "NAME=value"),
        ("SMTP_DOMAIN", "NAME=value"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(shell, line, expected):
    shell.dotenv(f"{line}\n")
    done = shell.run("probe.sh")
    assert done.returncode == 1
    assert done.stderr.startswith(f"probe.sh: {shell.folder}/.env: cannot read 'SMTP_")
    assert expected in done.stderr
    if line != "SMTP_domain=a":  # a name that the program knows to be none
        [fault] = dotenv.parse(f"{line}\n", "SMTP_")[1]
        assert (fault.line, expected in str(fault)) == (1, True)


@given(st.text(alphabet="SMTP_A=#'\"$\\ \t\r\nü"))
def test_any_text_is_read_or_its_lines_are_named(text):
    values, faults = dotenv.parse(text, "SMTP_")
    assert all(name.startswith("SMTP_") for name in values)
    assert all(1 <= fault.line <= text.count("\n") + 1 for fault in faults)


def test_a_fault_shows_nothing_of_a_value():
    text = 'SMTP_HTTP_TOKEN=\'open\nsesame\nSMTP_DOMAIN="$sesame"\n'
    values, faults = dotenv.parse(text, "SMTP_")
    assert (values, [fault.line for fault in faults]) == ({}, [1, 2, 3])
    assert not any("sesame" in str(fault) or "open" in str(fault) for fault in faults)


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert dotenv.parse("\ufeffSMTP_DOMAIN=a", "SMTP_") == ({"SMTP_DOMAIN": "a"}, [])
