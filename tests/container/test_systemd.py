"""The unit of `deployment/systemd` run by systemd, which is the first process of a container.

`nox -s container -- tests/container/test_systemd.py --systemd` builds Debian with systemd; in all
it takes one to three minutes. The container is not hardened: systemd mounts and limits what the unit asks for.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from prixfixe.verify.dialogue.wire import Wire
from tests.container import engine
from tests.container.builder import ensure_base
from tests.container.talk import body_of, deliver
from tests.container.waiting import eventually, is_greeted
from tests.support.script_runner import ROOT

FILE = Path(__file__).with_name("systemd.Dockerfile")
SETTINGS = "SMTP_PORT=25\nSMTP_DOMAIN=mx.example.com\nSMTP_STORE=sqlite:/var/lib/prixfixe/mail.db\n"
INSTALLED = ("LICENSE", "README.md", "pyproject.toml", "prixfixe", "deployment/systemd")
# What systemd needs for the unit's restrictions. All of them, `privileged`, an engine that is in a
# container itself may not give.
RIGHTS = {
    "cap_add": ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE", "IPC_LOCK", "SYSLOG"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
    "cgroupns": "private",
    "tmpfs": {"/run": "", "/tmp": "", "/sys/fs/cgroup": ""},
    "environment": {"container": "docker"},
}


class Machine:
    """A container with systemd."""

    def __init__(self, image):
        options = {**RIGHTS, "name": engine.new_name(), "labels": engine.labels()}
        self.container = engine.client().containers.run(image, detach=True, **options)

    def run(self, *command):
        done = self.container.exec_run(list(command))
        return done.exit_code, done.output.decode()

    def shown(self, name):
        return self.run("systemctl", "show", "--property", name, "--value", "prixfixe")[1].strip()

    def address(self):
        self.container.reload()
        [network] = self.container.attrs["NetworkSettings"]["Networks"].values()
        return network["IPAddress"], 25

    def await_greeting(self):
        eventually(lambda: is_greeted(self.address()), 60, "a greeting on port 25")

    def status(self):
        """What the kernel says of the server."""
        text = self.run("cat", f"/proc/{self.shown('MainPID')}/status")[1]
        return dict(re.findall(r"^(\w+):\s+(\S+)", text, re.MULTILINE))


@pytest.fixture
def machine(request, image, tmp_path):
    if not request.config.getoption("--systemd"):
        pytest.skip("it builds Debian with systemd: --systemd")
    for name in INSTALLED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "settings").write_text(SETTINGS)
    ensure_base(engine.client())
    options = {"dockerfile": os.fspath(FILE), "tag": engine.new_name(), "rm": True}
    built, _log = engine.client().images.build(
        path=os.fspath(tmp_path), labels=engine.labels(), **options
    )
    machine = Machine(built.id)
    yield machine
    machine.container.remove(force=True, v=True)


@pytest.mark.timeout(600)
def test_systemd_starts_guards_reloads_restarts_and_stops_the_server(machine):
    machine.await_greeting()
    status = machine.status()
    assert status["Uid"] != "0"
    only_port_25 = f"{1 << 10:016x}"  # CAP_NET_BIND_SERVICE
    assert (status["CapEff"], status["CapBnd"]) == (only_port_25, only_port_25)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    with Wire(machine.address()) as wire:
        assert wire.reply().startswith(b"220 mx.example.com ")
        wire.ask(b"EHLO client.test\r\n")
        name = deliver(wire, body_of(10_000))
    url = f"http://127.0.0.1:8025/api/v1/message/{name}"
    assert machine.run("curl", "--fail", "--silent", url)[0] == 0

    assert machine.run("systemctl", "reload", "prixfixe") == (0, "")
    journal = ("journalctl", "--unit", "prixfixe", "--output", "cat")
    eventually(lambda: '"event":"reload"' in machine.run(*journal)[1], what="the record reload")

    machine.run("kill", "-KILL", machine.shown("MainPID"))
    eventually(lambda: machine.shown("NRestarts") == "1", what="a restart")
    machine.await_greeting()
    assert machine.run("curl", "--fail", "--silent", url)[0] == 0

    assert machine.run("systemctl", "stop", "prixfixe") == (0, "")
    assert (machine.shown("Result"), machine.shown("ExecMainStatus")) == ("success", "0")


@pytest.mark.timeout(600)
def test_systemd_does_not_try_wrong_settings_again(machine):
    machine.await_greeting()
    machine.run("sh", "-c", "echo SMTP_MAX_CONECTIONS=3 >>/etc/prixfixe/settings")
    machine.run("systemctl", "restart", "prixfixe")
    eventually(lambda: machine.shown("ActiveState") == "failed", what="the end of the server")
    assert (machine.shown("ExecMainStatus"), machine.shown("NRestarts")) == ("2", "0")
