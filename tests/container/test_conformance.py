"""The conformance table on the container, with the same runner and cases as on the process.

The letters W and B need a store with a fault: there the entrypoint is replaced by the wrapper of
the process tests, mounted read-only. Only the variants `whole` and `octets` are played, because
the container makes no difference to the others.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from prixfixe.verify.dialogue.runner import play
from prixfixe.verify.dialogue.script import load
from tests.conformance.targets import START_SECONDS, Mailbox, PrixFixeTarget
from tests.container.box import PYTHON, Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conformance.targets import Server

FAULTY = Path(__file__).parents[1] / "conformance" / "faulty.py"
SECRETS = "/run/secrets/prixfixe"
TLS_PORT = 4650
# Two messages of the largest size at once, several times over.
MEMORY = "256m"
CASES = load()
PLAYS = [
    (case, variant)
    for case in CASES.values()
    for variant in case.variants
    if variant in ("whole", "octets")
]


class BoxServer(Mailbox):
    """A container on ports of the loopback."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.host, self.port = box.address()
        host, port = box.address(8025)
        self.http = http.client.HTTPConnection(host, port, timeout=START_SECONDS)
        if TLS_PORT in box._ports:
            self.tls_port = box.address(TLS_PORT)[1]

    def logs(self) -> str:
        return self.box.logs()

    def resident_octets(self, key: str = "VmRSS") -> int:
        found = re.search(rf"{key}:\s+(\d+) kB", self.box.file("/proc/1/status"))
        return int(found[1]) * 1024 if found else 0

    @contextlib.contextmanager
    def growth(self) -> Iterator[Callable[[], int]]:
        self.box.python("open('/proc/1/clear_refs', 'w').write('5')")
        before = self.resident_octets()
        yield lambda: self.resident_octets("VmHWM") - before

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.http.close()
        if not self.box.is_started:
            return 0
        if number == signal.SIGKILL:
            self.box.discard()
            return 137
        self.box.signal(signal.Signals(number).name)
        return self.box.exit_code()


class BoxTarget(PrixFixeTarget):
    """Hardened containers of the image under test."""

    name = "container"
    is_direct = False

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__(folder)
        self.image = image
        folder.chmod(0o755)

    def begin(self) -> None:
        """Behind the engine's proxy all clients have one address, so logins start afresh."""
        for config in [one for one in self._servers if set(one) & set("ASK")]:
            self._servers.pop(config).stop(signal.SIGKILL)

    def start(self, config: str) -> Server:
        environ = {"SMTP_LOG_LEVEL": "debug", **self.settings(config)}
        # The engine's checks of twenty servers every 15 s would take half a processor.
        unchecked = {"test": ["NONE"]}
        options: dict[str, object] = {"mem_limit": MEMORY, "healthcheck": unchecked}
        mounts: dict[str, object] = {str(self.folder): {"bind": SECRETS, "mode": "ro"}}
        if set(config) & set("WB"):
            mounts[str(FAULTY)] = {"bind": "/faulty.py", "mode": "ro"}
            options |= {"entrypoint": [PYTHON, "/faulty.py"], "command": ["serve"]}
        options["volumes"] = mounts
        if "I" in config:
            environ["SMTP_TLS_PORT"] = str(TLS_PORT)
            options["ports"] = (2525, 8025, TLS_PORT)
        for name in ("SMTP_TLS_CERT", "SMTP_TLS_KEY", "SMTP_AUTH_USERS"):
            if name in environ:
                path = Path(environ[name])
                path.chmod(0o644)
                environ[name] = f"{SECRETS}/{path.name}"
        return BoxServer(Box(self.image, environ, **options).start())


@pytest.fixture(scope="session")
def target(image, tmp_path_factory):
    """One target a worker; it keeps a container for each configuration."""
    target = BoxTarget(tmp_path_factory.mktemp("target"), image)
    yield target
    target.close()


@pytest.mark.parametrize(
    ("case", "variant"), PLAYS, ids=[f"{case.id}-{variant}" for case, variant in PLAYS]
)
def test_case(case, variant, target):
    play(case, variant, target)
