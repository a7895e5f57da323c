"""What is flooded: a server in a process of its own, or in a container; both are asked the same.

A process may be given Python that runs before the server, which is how the tests of teeth break it.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from prixfixe.auth.hashes import hash_password
from tests.container.box import PYTHON, Box
from tests.floods import driver
from tests.floods.honest import run_delay
from tests.floods.table import PASSWORD, USER
from tests.load import vitals

__all__ = ["ENVIRON", "SPECIAL", "Contained", "ServerProcess", "environ_of", "secrets"]

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0
TLS_PORT = 2465
INNER = {"smtp": 2525, "smtps": TLS_PORT, "http": 8025}
# Every port is open and every verb there is, as many deployments have it; limits are the defaults.
ENVIRON = {"SMTP_TLS_CERT": "self-signed", "SMTP_AUTH": "optional", "SMTP_AUTH_INSECURE": "true"}
# Ports whose server has more settings, and these.
SPECIAL = {
    "proxy": {"SMTP_PROXY_PROTOCOL": "0.0.0.0/0,::/0"},
    "faults": {"SMTP_FAULTS": "true"},
    "faults-http": {"SMTP_FAULTS": "true"},
}
MAIN = "import sys\n{code}\nfrom prixfixe.cli.main import main\nsys.exit(main(['serve']))\n"


def secrets(folder):
    """Write the files that the settings name, readable for the container's user."""
    folder.mkdir(exist_ok=True)
    (folder / "users").write_text(f"{USER}:{hash_password(PASSWORD)}\n")
    (folder / "users").chmod(0o644)
    folder.chmod(0o755)
    for parent in list(folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    return folder


def environ_of(port, users):
    """Return the settings of the server whose port is flooded."""
    return {**ENVIRON, "SMTP_AUTH_USERS": str(users), **SPECIAL.get(port, {})}


class ServerProcess:
    """A server on free ports of 127.0.0.1, its mail and its log in a folder."""

    def __init__(self, folder, environ, code=""):
        folder.mkdir(parents=True)
        own = {"SMTP_PORT": "0", "SMTP_HTTP_PORT": "0", "SMTP_TLS_PORT": "0"}
        own |= {"SMTP_BIND": "127.0.0.1", "SMTP_STORE": f"sqlite:{folder}/mail.db"}
        self.environ = {**environ, **own, "SMTP_STORE_MIN_FREE": "0"}
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", MAIN.format(code=code)],
                cwd=ROOT,
                env={**_without_settings(), **self.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._ready = self._read_ready()

    def _read_ready(self):
        until = time.monotonic() + START_SECONDS
        while self.is_running and time.monotonic() < until:
            if found := re.search(r"^prixfixe ready .*\n", self.log(), re.MULTILINE):
                return found[0]
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"no ready line: {self.log()[-2000:]}")

    def drive(self, spec):
        """Start the driver of a flood, beside the server."""
        return DriverProcess(spec)

    @property
    def inner(self):
        """Return where listeners are for the driver."""
        return self.address

    def address(self, port):
        """Return where a listener is: smtp, smtps or http."""
        found = re.search(rf"\b{port}=\S+:(\d+)", self._ready)
        return "127.0.0.1", int(found[1])

    @property
    def is_running(self):
        """Whether it lives."""
        return self._process.poll() is None

    def vitals(self):
        """Measure it."""
        place = Path(f"/proc/{self._process.pid}")
        found = dict(re.findall(r"(?m)^(\w+):\s+(\d+)", (place / "status").read_text()))
        sizes = (int(found[name]) << 10 for name in ("VmRSS", "VmHWM"))
        return vitals.Vitals(*sizes, len(list((place / "fd").iterdir())), int(found["Threads"]))

    def reset_peak(self):
        """Let the highest memory count from now on."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def stalled(self):
        """Return the seconds for which its loop was ready to run and had no processor."""
        return run_delay(self._process.pid)

    def died_of(self):
        """Return why it no longer runs, or "" while it does."""
        return "" if self.is_running else f"ended with {self._process.returncode}"

    def log(self):
        """Return what it wrote."""
        return self._log.read_text(errors="replace")

    def stop(self):
        """End it, gently first."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        if self.is_running:
            self._process.kill()
        self._process.wait()


class Contained:
    """A container under compose's limits; `box` is started and ended by the container fixtures."""

    def __init__(self, box, environ):
        self._box, self.environ = box, environ
        self._pid = box.state["Pid"]

    def address(self, port):
        """See `ServerProcess`."""
        return self._box.address(INNER[port])

    def inner(self, port):
        """Return where a listener is inside the container's network."""
        return "127.0.0.1", INNER[port]

    def drive(self, spec):
        """Start the driver in a container of its own that has the server's network.

        Through the engine's proxy a client that resets its connection is one that went silent, and
        megabytes that it sent wait in the proxy's buffers.
        """
        return DriverContainer(self._box.container, spec)

    @property
    def is_running(self):
        """Whether it runs and was not started again."""
        attributes = self._box.container.attrs
        return attributes["State"]["Running"] and not attributes["RestartCount"]

    def vitals(self):
        """Measure PID 1."""
        return vitals.of(self._box)

    def reset_peak(self):
        """See `ServerProcess`."""
        self._box.python("open('/proc/1/clear_refs', 'w').write('5')")

    def stalled(self):
        """See `ServerProcess`; 0 where the engine's processes are not this machine's."""
        return run_delay(self._pid)

    def died_of(self):
        """See `ServerProcess`."""
        state = self._box.state
        if state["OOMKilled"]:
            return "killed for its memory"
        return "" if self.is_running else f"ended: {json.dumps(state)}"

    def log(self):
        """See `ServerProcess`."""
        return self._box.logs()

    def stop(self):
        """See `ServerProcess`: the fixture does it."""
        self._box.remove()


class DriverProcess:
    """The driver in a process."""

    def __init__(self, spec):
        command = [sys.executable, driver.__file__, spec]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def is_running(self):
        """Whether the flood goes on."""
        return self._process.poll() is None

    def output(self):
        """Wait for its end, and return what it counted."""
        return self._process.communicate(timeout=STOP_SECONDS)[0]


class DriverContainer:
    """The driver in a container on the server's network; its image is the server's."""

    def __init__(self, server, spec):
        self._box = Box(
            server.image.id,
            entrypoint=[PYTHON, "-IBc"],
            command=[Path(driver.__file__).read_text(), spec],
            network_mode=f"container:{server.id}",
            volume=None,
            ports=(),
            healthcheck={"test": ["NONE"]},
            mem_limit="512m",
        )
        self._box.start(is_awaited=False)

    def is_running(self):
        """See `DriverProcess`."""
        return bool(self._box.state["Running"])

    def output(self):
        """See `DriverProcess`."""
        try:
            self._box.exit_code(STOP_SECONDS)
            return self._box.logs()
        finally:
            self._box.remove()


def _without_settings():
    return {name: value for name, value in os.environ.items() if not name.startswith("SMTP_")}
