"""A server that the scripts or compose deploy, in a folder, with names and settings of its own.

Everything it makes carries the run's label and the deployment's name, and `discard` removes it.
Neither the checkout's .env nor the caller's environment changes its settings.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

from docker.errors import NotFound

from prixfixe.verify.dialogue.wire import Wire
from tests.container import engine
from tests.container.box import PYTHON, Answer, headers_of
from tests.container.mailbox import Kept, read_all
from tests.container.staging import staged
from tests.container.waiting import is_greeted, published
from tests.support.script_runner import ROOT, Shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Deployment", "taken_port"]

CONTEXT = (
    *("docker-compose.yml", "docker-compose.stress-test.yml", "Dockerfile", ".dockerignore"),
    *("docker", "prixfixe", "requirements"),
    *("pyproject.toml", "README.md", "LICENSE"),
)


class Deployment(Shell):
    """One server, its settings in the environment."""

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__(folder)
        self.name = engine.new_name()
        for file in CONTEXT:
            if (ROOT / file).is_dir():
                shutil.copytree(ROOT / file, folder / file, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / file, folder)
        (folder / "secrets").mkdir()
        # The image by its id: removing a last name would remove it.
        self.environ = staged(folder, self.name, image)

    # --- commands

    def succeed(self, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a script that must end well."""
        done = self.run(script, *words, seconds=120, **environ)
        assert done.returncode == 0, done.stderr
        return done

    def begin(self, script: str, *words: str) -> subprocess.Popen[str]:
        """Start a script and go on."""
        return subprocess.Popen(
            [self.folder / "scripts" / script, *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    # --- the container

    @property
    def container(self) -> Any:
        """The container, by run.sh's name or by compose's."""
        found = engine.client().containers
        with contextlib.suppress(NotFound):
            return found.get(self.name)
        return found.get(f"{self.name}-smtp-1")

    @property
    def is_started(self) -> bool:
        """Whether there is a container, running or not."""
        try:
            return bool(self.container)
        except NotFound:
            return False

    def logs(self) -> str:
        return str(self.container.logs().decode("utf-8", "replace"))

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.container.attrs["State"])

    def ask(self, code: str) -> str:
        """Run Python in the container and return what it printed."""
        done = self.container.exec_run([PYTHON, "-IBc", code])
        assert done.exit_code == 0, done.output
        return str(done.output.decode())

    # --- from outside

    def address(self, port: int = 2525) -> tuple[str, int]:
        return published(self.container, port)

    def is_greeted(self, port: int = 2525) -> bool:
        return is_greeted(self.address(port))

    def is_greeted_in_tls(self, port: int) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it made its own
        with Wire(self.address(port)) as wire:
            wire.start_tls(context)
            return wire.replies(1) == [220]

    def greeting(self, port: int = 2525) -> bytes:
        with Wire(self.address(port)) as wire:
            return wire.reply()

    def hello(self, port: int = 2525) -> Wire:
        """Open a connection up to the answer to EHLO."""
        wire = Wire(self.address(port))
        assert wire.replies(1) == [220]
        assert wire.ask(b"EHLO client.test\r\n") == [250]
        return wire

    def http(self, path: str, port: int = 8025, **headers: str) -> Answer:
        host, number = self.address(port)
        connection = http.client.HTTPConnection(host, number, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), headers_of(answer))

    def messages(self, port: int = 8025) -> list[Kept]:
        return read_all(lambda path: self.http(path, port))

    # --- the end

    def discard(self) -> None:
        """Remove all that is named for this deployment."""
        engine.remove_named(self.name)


@contextlib.contextmanager
def taken_port(*, is_listening: bool = False) -> Iterator[int]:
    """Have a free port that nobody else of this machine is given; a listener keeps it for itself."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        if is_listening:
            holder.listen()
        yield holder.getsockname()[1]
