"""What the image says of itself: its configuration, its labels, how it was made."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prixfixe import __version__
from prixfixe.settings import TABLE
from prixfixe.verify.tree import named_secrets
from tests.container import engine
from tests.container.builder import ROOT, revision
from tests.container.tree import config_of, history_of

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PREFIX = "org.opencontainers.image."


@pytest.fixture(scope="session")
def config(image):
    """The image's configuration."""
    return config_of(image)


def test_the_user_is_numeric_and_not_root(config):
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert config["User"] == "1000:1000"


def test_entrypoint_and_command_need_no_shell(config):
    assert config["Entrypoint"] == ["/usr/local/bin/prixfixe"]
    assert config["Cmd"] == ["serve"]


def test_the_healthcheck_needs_no_shell_and_is_bounded(config):
    check = config["Healthcheck"]
    assert check["Test"] == ["CMD", "/usr/local/bin/prixfixe", "check", "--timeout", "4"]
    assert 0 < check["Timeout"] <= 10e9
    assert check["Timeout"] <= check["Interval"] <= 30e9
    assert 1 <= check["Retries"] <= 5


def test_exactly_the_two_ports_are_exposed(config):
    assert set(config["ExposedPorts"]) == {"2525/tcp", "8025/tcp"}


def test_the_stop_signal_is_said(config):
    assert config["StopSignal"] == "SIGTERM"


def test_no_anonymous_volume_is_made(config):
    assert not config.get("Volumes")


def test_environment_is_the_settings_table_but_for_two(config):
    environ = dict(entry.split("=", 1) for entry in config["Env"])
    assert environ.pop("PATH") == "/usr/local/bin:/usr/bin"
    assert environ.pop("PRIXFIXE_REVISION")
    assert environ == {"SMTP_HTTP_BIND": "", "SMTP_STORE": "sqlite:/var/mail/prixfixe.db"}
    assert set(environ) <= {setting.env for setting in TABLE}


def test_settings_in_force_are_the_documented_defaults(run_once):
    shown = run_once("config")
    assert shown.code == 0, shown
    for setting in TABLE:
        assert re.search(rf"^{setting.env}\b", shown.out, re.MULTILINE), setting.env
    sources = re.findall(r"^(SMTP_\w+).*\benvironment\b", shown.out, re.MULTILINE)
    assert set(sources) == {"SMTP_HTTP_BIND", "SMTP_STORE"}


# --- labels


def test_labels_tell_the_truth(config, run_once):
    labels = config["Labels"]
    assert labels[f"{PREFIX}title"] == "prixfixe"
    assert labels[f"{PREFIX}licenses"] == "MIT"
    assert labels[f"{PREFIX}version"] == __version__
    assert run_once("version").out.split()[:2] == ["prixfixe", __version__]


def test_the_revision_is_the_checkouts(config):
    named = config["Labels"][f"{PREFIX}revision"]
    environ = dict(entry.split("=", 1) for entry in config["Env"])
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", named)
    assert named.removesuffix("-dirty") == revision().removesuffix("-dirty")
    assert environ["PRIXFIXE_REVISION"] == named


def test_created_is_a_time_of_the_past(config):
    created = datetime.fromisoformat(config["Labels"][f"{PREFIX}created"])
    assert created.tzinfo is not None
    assert datetime(2025, 1, 1, tzinfo=UTC) < created <= datetime.now(UTC)


# --- history


def test_one_layer_holds_everything(image):
    layers = engine.client().images.get(image).attrs["RootFS"]["Layers"]
    assert len(layers) == 1


def test_history_and_environment_hold_no_secret(image, config):
    said = [*history_of(image), *config["Env"], *map(str, (config["Labels"] or {}).items())]
    assert named_secrets(said) == []


# --- the file it is made from


def test_the_dockerfile_pleases_its_linter():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_base_is_one_pinned_argument():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert stages == ["${BASE_IMAGE}", "scratch"]
    base = re.search(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert base[1] == "debian:trixie-slim"


def test_the_dockerfile_keeps_to_what_old_builders_know():
    code = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    newer = r"--mount|--chmod|--link|--start-interval|<<|--checksum|--parents|\$TARGET|\$\{TARGET"
    assert not re.search(newer, code)


def test_only_what_the_dockerfile_copies_is_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    wanted = {source for line in copied for source in line.split()}
    assert "*" in ignored
    assert sent == {one for one in wanted if not one.startswith("docker/")}
