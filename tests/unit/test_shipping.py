"""The examples for log shippers: they parse, name fields there are, and rsyslog takes records."""

import asyncio
import json
import re
import shutil
import subprocess

import pytest
import yaml

from prixfixe.telemetry.events import EVENTS, FIELDS
from tests.conftest import PATIENCE, until
from tests.documents.generated import ROOT
from tests.support import log_records as records

FOLDER = ROOT / "deployment" / "logs"
HEAD = {"time", "level", "event"}
# Which words of a file are names of fields, and those that are the shipper's own.
NAMES = {
    "vector.yaml": (r"(?<=[(\s])\.(\w+)", {"message", "timestamp"}),
    "fluent-bit.yaml": (r"(?:time_key:|regex:|remove_key:) (\w+)", set()),
    "config.alloy": (r"(?:\{|, )(\w+) = \"\"|source = \"(\w+)\"", set()),
    "rsyslog.conf": (r"\$!(\w+)", {"all"}),
}


def test_there_is_a_pattern_for_every_example():
    assert {path.name for path in FOLDER.iterdir()} == NAMES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_examples_name_fields_there_are(name):
    pattern, own = NAMES[name]
    found = {
        word
        for match in re.finditer(pattern, (FOLDER / name).read_text())
        for word in match.groups()
        if word
    }
    assert len(found - own) >= 2
    assert found - own <= HEAD | FIELDS.keys()


@pytest.mark.parametrize("name", ["vector.yaml", "fluent-bit.yaml"])
def test_examples_are_yaml(name):
    assert isinstance(yaml.safe_load((FOLDER / name).read_text()), dict)


def test_labels_are_closed_sets():
    """A label with a value of its own for every client makes a stream each."""
    text = (FOLDER / "config.alloy").read_text()
    (labels,) = re.findall(r"stage\.labels \{\s*values = \{(.*?)\}", text)
    assert set(re.findall(r"(\w+) =", labels)) <= {"level", "event"}
    assert len(EVENTS) < 50


# --- rsyslog, really

needs_rsyslog = pytest.mark.skipif(
    not shutil.which("rsyslogd"), reason="rsyslogd is not installed (Debian: rsyslog)"
)


def config_for(folder):
    """Write the example with a free port, which rsyslog tells in a file, and logs in the folder."""
    text = (FOLDER / "rsyslog.conf").read_text()
    assert '"5514"' in text
    assert "/var/log/" in text
    path = folder / "rsyslog.conf"
    any_port = f'"0" listenPortFileName="{folder}/port"'
    path.write_text(text.replace('"5514"', any_port).replace("/var/log/", f"{folder}/"))
    return path


@pytest.fixture
def rsyslogd(tmp_path):
    """A copy: where AppArmor is, the original may read the system's files only."""
    return shutil.copy(shutil.which("rsyslogd"), tmp_path)


@needs_rsyslog
def test_rsyslog_finds_nothing_wrong(rsyslogd):
    done = subprocess.run(
        [rsyslogd, "-N1", "-f", str(FOLDER / "rsyslog.conf")], capture_output=True, text=True
    )
    assert (done.returncode, re.findall("rsyslogd:.*(?:error|warn).*", done.stderr)) == (0, [])


@needs_rsyslog
async def test_rsyslog_writes_what_the_server_said(start, rsyslogd, tmp_path):
    running = await start()
    wire = await running.say_hello()
    await wire.ask(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<\xc3\xa9@y.test> SMTPUTF8\r\nQUIT\r\n", 3)
    await until(lambda: not running.server.roster.connections)
    running.server._log.unexpected(ZeroDivisionError("x"))
    said = ["prixfixe ready smtp=[::]:2525", *running.records()]
    daemon = await asyncio.create_subprocess_exec(
        *(rsyslogd, "-n", "-i", str(tmp_path / "pid")),
        *("-f", str(config_for(tmp_path))),
    )
    try:
        port = tmp_path / "port"
        await until(lambda: port.exists() and port.read_text())
        _, writer = await asyncio.open_connection("127.0.0.1", int(port.read_text()))
        for line in said:  # as Docker's syslog driver frames it
            writer.write(f"<30>1 2026-01-02T03:04:05Z host prixfixe 1 prixfixe - {line}\n".encode())
        await writer.drain()
        output = tmp_path / "prixfixe.log"
        await until(lambda: output.exists() and output.read_text().count("\n") >= len(said) - 1)
        writer.close()
    finally:
        daemon.terminate()
        await asyncio.wait_for(daemon.wait(), PATIENCE)
    written = output.read_text().splitlines()
    assert [json.loads(line) for line in written] == [json.loads(line) for line in said[1:]]
    assert records.faults_of_lines(written) == []
    (error,) = (tmp_path / "prixfixe-errors.log").read_text().splitlines()
    assert json.loads(error)["event"] == "unexpected error"
