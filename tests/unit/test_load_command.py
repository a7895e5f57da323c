"""`prixfixe load` and `prixfixe load report` as commands: options, exit codes, interrupts, extras."""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from prixfixe.cli.main import main
from prixfixe.load.results import read
from tests.unit.test_load import Scripted

ROOT = Path(__file__).parents[2]
EXTRAS = ("aiosmtplib", "hdrh", "jinja2", "matplotlib", "rich")


async def ok(number):
    return b"250 ok\r\n"


async def loaded(answer, *words, stderr=subprocess.PIPE, targets=1, then=None):
    """Run the command against scripted servers; `then(process)` once it runs."""
    servers = [
        await asyncio.start_server(Scripted(answer).serve, "127.0.0.1", 0) for _ in range(targets)
    ]
    names = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prixfixe", "load", *names, *words),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    if then:
        await then(process)
    output, error = await process.communicate()
    for server in servers:
        server.close()
    return process.returncode, output.decode(), (error or b"").decode()


# --- usage


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rate", "0"], "expected messages a second"),
        (["--size", "1KiB,big"], "'big': expected octets"),
        (["--messages", "0"], "expected a whole number"),
        (["--to", "a@b>\r\nRSET"], "expected an address"),
        (["--scenario", "huge"], "invalid choice: 'huge'"),
        (["127.0.0.1"], "expected HOST:PORT"),
    ],
)
def test_bad_arguments_are_refused(words, expected, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["load", "127.0.0.1:1", *words])
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


def test_aiosmtplib_does_not_pipeline(capsys):
    assert main(["load", "127.0.0.1:1", "--client", "aiosmtplib", "--pipelined"]) == 2
    assert "--pipelined: aiosmtplib" in capsys.readouterr().err


def test_a_user_needs_a_password(capsys, monkeypatch):
    monkeypatch.delenv("LOAD_PASSWORD", raising=False)
    assert main(["load", "127.0.0.1:1", "--user", "me"]) == 2
    assert "LOAD_PASSWORD" in capsys.readouterr().err


def test_exit_1_when_nothing_was_accepted(capsys):
    assert main(["load", "127.0.0.1:1", "--messages", "2", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 2


# --- runs


async def test_several_servers_share_a_scenario_and_options_change_it():
    words = ("--scenario", "burst", "--messages", "9", "--rate", "500", "--json")
    code, output, error = await loaded(ok, *words, targets=3)
    assert (code, error) == (0, "")
    runs = read(output)
    assert [one.outcome.accepted for one in runs] == [3, 3, 3]
    assert [one.plan["size"] for one in runs] == [[10240]] * 3
    assert sum(one.plan["workers"] for one in runs) == 9
    assert json.loads(output)["accepted"] == 9


async def test_aiosmtplib_can_be_the_client():
    code, output, _ = await loaded(ok, "--client", "aiosmtplib", "--json")
    assert code == 0
    assert read(output)[0].plan["client"] == "aiosmtplib"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_run_and_shows_what_was_measured(number):
    reached = asyncio.Event()

    async def fourth_stalls(n):
        if n == 3:
            reached.set()
            await asyncio.Event().wait()
        return b"250 ok\r\n"

    async def interrupt(process):
        await reached.wait()
        process.send_signal(number)

    code, output, error = await loaded(fourth_stalls, "--workers", "1", "--json", then=interrupt)
    assert (code, error) == (130, "")
    told = json.loads(output)
    assert (told["accepted"], told["errors"]) == (3, {"Interrupted": 1})


async def test_a_page_is_written_beside_the_table(tmp_path):
    code, output, _ = await loaded(ok, "--html", str(tmp_path / "page.html"))
    assert code == 0
    assert "accepted                100" in output
    assert "<h1>100 messages accepted</h1>" in (tmp_path / "page.html").read_text()


async def test_a_terminal_sees_a_bar_and_a_pipe_none():
    mine, theirs = pty.openpty()
    code, output, _ = await loaded(ok, "--json", stderr=theirs)
    os.close(theirs)
    seen = os.read(mine, 65536).decode()
    os.close(mine)
    assert code == 0
    assert "100/100" in seen
    assert json.loads(output)["accepted"] == 100


# --- the extra


def test_neither_the_server_nor_the_command_loads_the_extra():
    code = f"""
import sys
before = set(sys.modules)
import prixfixe.server.process, prixfixe.cli.load, prixfixe.load.page, prixfixe.load.with_aiosmtplib
print(*sorted((set(sys.modules) - before) & set({EXTRAS!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_server_does_not_load_the_driver():
    code = "import sys, prixfixe.server.process; print('prixfixe.load' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("matplotlib", ["--html", "page.html"]),
        ("jinja2", ["--html", "page.html"]),
        ("aiosmtplib", ["--client", "aiosmtplib"]),
    ],
)
def test_without_the_extra_what_needs_it_is_told_before_the_load(
    package, words, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["load", "127.0.0.1:1", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f" needs {package}: {sys.executable} -m pip install {package}\n" in told.err


def test_all_packages_that_are_missing_are_in_one_command(monkeypatch, capsys):
    for package in ("jinja2", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    assert main(["load", "report", "--html", "page.html", "none.json"]) == 2
    assert "pip install jinja2 matplotlib\n" in capsys.readouterr().err


def test_the_packages_of_the_hint_are_those_of_the_extra():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.match(r"[a-z0-9]+", one)[0] for one in extra["optional-dependencies"]["load"]}
    assert {"aiosmtplib", "jinja2", "matplotlib", "rich"} <= named


def test_without_the_extra_the_rest_works(tmp_path):
    code = f"""
import sys
sys.modules |= dict.fromkeys({EXTRAS!r})
from prixfixe.cli.main import main
sys.exit(main(["load", "127.0.0.1:1", "--messages", "2", *sys.argv[1:]]))
"""
    mine, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code, "--json"], stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    os.close(mine)
    assert done.returncode == 1
    assert read(done.stdout)[0].outcome.errors == {"ConnectionRefusedError": 2}


def test_a_server_that_is_not_there_is_named(closed_port, capsys):
    where = f"127.0.0.1:{closed_port}"
    assert main(["load", where, "--messages", "2"]) == 1
    told = capsys.readouterr()
    assert "errors ConnectionRefusedError 2\n" in re.sub(" +", " ", told.out)
    assert f"prixfixe: {where}: no message was answered: ConnectionRefusedError" in told.err


# --- report


@pytest.fixture
async def results(tmp_path):
    """Two files: of one server, and of two."""
    for name, targets in (("one", 1), ("two", 2)):
        _, output, _ = await loaded(ok, "--messages", "10", "--json", targets=targets)
        (tmp_path / f"{name}.json").write_text(output)
    return [str(tmp_path / "one.json"), str(tmp_path / "two.json")]


async def test_report_makes_one_table_and_page_of_several_files(results, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["load", "report", *results, "--html", str(page)]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:5]]
    assert names == ["one", "two", "two", "all"]
    assert "<h1>20 messages accepted</h1>" in page.read_text()


async def test_report_as_json_is_a_result_again(results, tmp_path, capsys):
    assert main(["load", "report", *results, "--json"]) == 0
    assert len(read(capsys.readouterr().out)) == 3


async def test_report_compares_with_what_is_kept(results, tmp_path, capsys):
    kept = tmp_path / "kept"
    [run] = read((tmp_path / "one.json").read_text())
    kept.write_text("".join(f'{{"subject": "load {n}", "size": 1022}}\n' for n in range(9)))
    assert main(["load", "report", results[0], "--kept", f"127.0.0.1={kept}"]) == 1
    assert "not kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["{pixel}"], 2, "expected what `prixfixe load --json` wrote"),
        (["{other}"], 2, "expected what `prixfixe load --json` wrote"),
        (["{one}", "--kept", "127.0.0.1={other}"], 2, "expected what `prixfixe messages"),
        (["{one}", "--kept", "elsewhere={other}"], 2, "expected one run of it, not 0"),
        (["{two}", "--kept", "127.0.0.1={other}"], 2, "expected one run of it, not 2"),
    ],
)
async def test_report_names_what_it_cannot_read(results, tmp_path, capsys, words, code, expected):
    (tmp_path / "other").write_text("hello\n")
    (tmp_path / "pixel").write_bytes(b"\x89PNG\r\n")
    paths = {"one": results[0], "two": results[1]}
    paths |= {name: tmp_path / name for name in ("other", "pixel")}
    assert main(["load", "report", *(word.format(**paths) for word in words)]) == code
    assert expected in capsys.readouterr().err


def test_report_wants_kept_as_host_and_file(capsys):
    with pytest.raises(SystemExit):
        main(["load", "report", "x", "--kept", "smtp1"])
    assert "expected HOST=FILE" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["load", "localhost:25"], ["load", "report", "-"]])
def test_where_the_driver_was_left_out_the_command_says_how_to_get_it(words, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "prixfixe.cli.load", None)
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "pip install" in capsys.readouterr().err
