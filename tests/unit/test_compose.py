"""docker-compose.yml as far as it needs no engine: its schema, what compose makes of it, the settings."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from prixfixe.settings import TABLE
from prixfixe.settings import parse as units
from tests.support.script_runner import ROOT, clean_environ

FILE = ROOT / "docker-compose.yml"
PORTS = {"SMTP_PORT": "25", "SMTP_HTTP_PORT": "80", "SMTP_TLS_PORT": "465"}
# What compose has to know itself comes from no file; `scripts/compose.sh` says so.
OWN = {*PORTS, "SMTP_STORE", "SMTP_HTTP_BIND"}
ADVANCED = {setting.env for setting in TABLE if setting.is_advanced}
NAMES = {setting.env for setting in TABLE} - ADVANCED
FILES = {f"{name}_FILE" for name in NAMES - OWN}


def composed(folder, dotenv="", file=FILE, **environ):
    """Return the project as compose sees it beside this .env."""
    shutil.copy(file, folder)
    (folder / ".env").write_text(dotenv)
    done = subprocess.run(
        [shutil.which("docker-compose"), "--file", file.name, "config", "--format", "json"],
        cwd=folder,
        env=clean_environ() | environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project with no setting at all."""
    return composed(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def service(project):
    [service] = project["services"].values()
    return service


def test_it_is_a_compose_file():
    done = subprocess.run(
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_nothing_in_it_needs_a_recent_compose():
    """What compose refused or did not know before 2.24, or refuses since 5."""
    text = FILE.read_text()
    for word in ("version:", "deploy:", "env_file", "start_interval", "container_name", "develop:"):
        assert word not in re.sub("#.*", "", text)


# --- settings


def test_it_passes_on_every_setting_but_the_advanced_and_no_other(service):
    assert ADVANCED
    assert set(service["environment"]) == NAMES | FILES


def test_an_override_passes_an_advanced_setting_on(tmp_path):
    """As .env.example says."""
    (tmp_path / "docker-compose.override.yml").write_text(
        "services: {smtp: {environment: [SMTP_STRESS_TIMEOUT]}}\n"
    )
    (tmp_path / ".env").write_text("SMTP_STRESS_TIMEOUT=9\n")
    shutil.copy(FILE, tmp_path)
    done = subprocess.run(
        [shutil.which("docker-compose"), "config", "--format", "json"],
        cwd=tmp_path,
        env=clean_environ(),
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["services"]["smtp"]["environment"]["SMTP_STRESS_TIMEOUT"] == "9"


def test_what_the_image_sets_is_what_compose_sets(service):
    """Compose takes the image's variables away where it names one that is set nowhere."""
    image = dict(re.findall(r"\b(SMTP_[A-Z_]+)=(\S*)", (ROOT / "Dockerfile").read_text()))
    assert image
    given = {name: value for name, value in service["environment"].items() if value is not None}
    # A port that scripts/compose.sh empties, for compose cannot publish `off`, is off again.
    assert given == image | {"SMTP_TLS_PORT": "off"}


def test_every_setting_in_the_env_file_reaches_the_server(tmp_path):
    values = {name: PORTS.get(name, f"{name}'s # value") for name in NAMES | FILES}
    shown = composed(tmp_path, "".join(f'{name}="{value}"\n' for name, value in values.items()))
    assert shown["services"]["smtp"]["environment"] == values


def test_the_environment_wins_over_the_env_file(tmp_path):
    shown = composed(tmp_path, "SMTP_STORE=memory:\n", SMTP_STORE="discard:")
    assert shown["services"]["smtp"]["environment"]["SMTP_STORE"] == "discard:"


def test_the_example_works_as_the_env_file_with_every_line_in_force(tmp_path):
    """Apart from a port that is off, which compose cannot publish, as the file says."""
    example = re.sub(
        r"^#(SMTP_\w+=)", r"\1", (ROOT / ".env.example").read_text(), flags=re.MULTILINE
    )
    shown = composed(tmp_path, example.replace("SMTP_TLS_PORT=off", "#"))["services"]["smtp"]
    assert shown["environment"]["SMTP_DOMAIN"] == "localhost"


# --- ports


def published(service):
    return [(one["host_ip"], one["published"], one["target"]) for one in service["ports"]]


def test_ports_are_on_loopback_only(service):
    assert published(service) == [("127.0.0.1", "2525", 2525), ("127.0.0.1", "8025", 8025)]


def test_ports_follow_the_settings(tmp_path):
    dotenv = "".join(f"{name}={value}\n" for name, value in PORTS.items())
    shown = composed(tmp_path, f"{dotenv}PRIXFIXE_PUBLISH=0.0.0.0\n")["services"]["smtp"]
    outside, inside = "0.0.0.0", "127.0.0.1"  # mail that everybody reads is nobody's wish
    assert published(shown) == [(outside, "25", 25), (inside, "80", 80), (outside, "465", 465)]


def test_a_port_that_is_off_is_an_error_of_compose(tmp_path):
    """`scripts/compose.sh` tells it better; see test_scripts."""
    with pytest.raises(AssertionError, match="invalid containerPort: off"):
        composed(tmp_path, "SMTP_HTTP_PORT=off\n")


# --- hardening, limits, life


def test_everything_is_taken_away_and_limited(service):
    expected = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp:size=16m,mode=1777,noexec,nosuid,nodev"],
        "pids_limit": 64,
        "mem_limit": str(256 * 1024 * 1024),
        "memswap_limit": str(256 * 1024 * 1024),
        "cpus": 1,
        "restart": "unless-stopped",
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }
    assert {name: service.get(name) for name in expected} == expected
    given = {
        "privileged",
        "cap_add",
        "devices",
        "network_mode",
        "pid",
        "ipc",
        "userns_mode",
        "user",
    }
    assert not given & service.keys()


def test_the_shell_beside_it_has_as_few_rights(tmp_path):
    services = composed(tmp_path, COMPOSE_PROFILES="debug")["services"]
    shell, service = services["debug"], services["smtp"]
    assert (shell["pid"], shell["network_mode"]) == ("service:smtp", "service:smtp")
    for name in ("read_only", "cap_drop", "security_opt", "tmpfs", "pids_limit", "volumes"):
        assert shell[name] == service[name]
    assert not {"privileged", "cap_add", "devices", "user", "ports", "restart"} & shell.keys()


def test_mail_is_in_a_volume_and_secrets_are_read_only(project, service):
    mail, secrets = service["volumes"]
    assert (mail["type"], mail["source"], mail["target"]) == ("volume", "mail", "/var/mail")
    assert (secrets["type"], secrets["target"], secrets["read_only"]) == (
        "bind",
        "/run/secrets",
        True,
    )
    assert project["volumes"] == {"mail": {"name": "prixfixe-mail"}}


def test_mail_is_where_run_sh_keeps_it(tmp_path):
    """So that who goes on from the one to the other finds it."""
    assert "${PRIXFIXE_VOLUME:-$name-mail}" in (ROOT / "scripts" / "lib.sh").read_text()
    named = composed(tmp_path, PRIXFIXE_NAME="mx")["volumes"]
    assert named == {"mail": {"name": "mx-mail"}}


def test_the_name_is_that_of_the_project(tmp_path):
    """Or a second server would take the first one's place."""
    assert composed(tmp_path)["name"] == "prixfixe"
    assert composed(tmp_path, PRIXFIXE_NAME="mx")["name"] == "mx"


def test_the_network_is_its_own(project, service):
    assert list(service["networks"]) == list(project["networks"]) == ["mail"]
    assert project["networks"]["mail"]["name"] == "prixfixe_mail"


def test_it_gets_longer_to_stop_than_it_takes(service):
    [takes] = [setting for setting in TABLE if setting.env == "SMTP_SHUTDOWN_TIMEOUT"]
    grace = units.duration(0)(service["stop_grace_period"])
    assert grace >= takes.parse(takes.default) + 5


def test_the_probe_is_the_image_s(service):
    assert set(service["healthcheck"]) - {"timeout"} == {"interval"}


# --- with the scripts


def test_defaults_are_those_of_the_scripts():
    """`PRIXFIXE_*`: the same names with the same defaults in both, and told in both."""
    compose, lib = FILE.read_text(), (ROOT / "scripts" / "lib.sh").read_text()
    for name in (
        "PUBLISH",
        "MEMORY",
        "CPUS",
        "HEALTH_INTERVAL",
        "NAME",
        "IMAGE",
        "BASE_IMAGE",
        "SECRETS",
    ):
        found = {
            match
            for text in (compose, lib)
            for match in re.findall(rf"\$\{{PRIXFIXE_{name}:-([^}}]*)\}}", text)
        }
        assert len(found) == 1, (name, found)
        help_of = "build.sh" if name == "BASE_IMAGE" else "run.sh"
        assert f"PRIXFIXE_{name}" in (ROOT / "scripts" / help_of).read_text().partition("\n\n")[0]
    used = set(re.findall(r"PRIXFIXE_[A-Z_]+", yaml.safe_dump(yaml.safe_load(compose))))
    told = set(re.findall(r"PRIXFIXE_[A-Z_]+", "".join(re.findall("^#.*", compose, re.MULTILINE))))
    assert used - {"PRIXFIXE_REVISION"} == told


def test_the_folder_of_secrets_is_there_and_kept_out_of_git_and_of_the_image():
    assert (ROOT / "secrets" / ".gitignore").read_text() == "*\n!.gitignore\n"
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert not [line for line in ignored if line.startswith("!") and "secrets" in line]
