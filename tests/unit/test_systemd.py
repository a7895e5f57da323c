"""The unit of systemd: it is well-formed, has few rights, and fits the server."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from prixfixe.server.process import EXIT_SETTINGS
from prixfixe.settings import TABLE

UNIT = Path(__file__).parents[2] / "deployment" / "systemd" / "prixfixe.service"
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def service():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def unit(tmp_path):
    """The unit, with a program that is there."""
    copy = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert service()["ExecStart"] == "/opt/prixfixe/bin/prixfixe serve"
    copy.write_text(text.replace("/opt/prixfixe/bin/prixfixe", "/bin/true"))
    return str(copy)


@needs_systemd
def test_systemd_finds_no_fault(unit):
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_it_has_few_rights(unit):
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", unit]
    done = subprocess.run(words, capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd judges no unit that is not installed")
    assert done.returncode == 0, done.stdout[-500:]


def test_it_stops_later_than_the_server_does():
    drain = next(one.default for one in TABLE if one.env == "SMTP_SHUTDOWN_TIMEOUT")
    assert int(service()["TimeoutStopSec"]) >= int(drain) + 10


def test_wrong_settings_are_not_tried_again():
    assert service()["RestartPreventExitStatus"] == str(EXIT_SETTINGS)
