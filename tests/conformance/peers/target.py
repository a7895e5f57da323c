"""A peer server as a target: its image, and one container for each configuration.

The network has no route out, and no port is published; clients connect to a container's own
address. Everything carries the run's label (see `tests.container.engine`). A peer's `start` script
turns the configuration letters into its settings.
"""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import BuildError, DockerException

from prixfixe.verify.dialogue.wire import ClosedError, Wire
from prixfixe.verify.readback.delivered import PREFACE, kept
from tests.conformance.targets import NotOfferedError, Server, Stored, Target
from tests.container import engine
from tests.container.builder import ensure_base
from tests.container.once import once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PEERS", "PeerTarget"]

HERE = Path(__file__).parent
SMTP, SMTPS, WINDOW = 25, 465, 2600
START_SECONDS, STOP_SECONDS = 30.0, 20
DEADLINE = 6.0  # seconds; nobody needs longer, and a case that fails would wait for it


@functools.cache
def network() -> str:
    """Return the name of the run's network without a way out."""
    name = engine.new_name()
    engine.client().networks.create(name, internal=True, labels=engine.labels())
    return name


class PeerServer(Server):
    """One container."""

    port = SMTP
    deadline = DEADLINE

    def __init__(self, target: PeerTarget, config: str) -> None:
        self.target = target
        self.container: Any = engine.client().containers.run(
            target.image,
            [config],
            name=engine.new_name(),
            detach=True,
            labels=engine.labels(),
            network=network(),
            mem_limit="1g",
            init=True,
            volumes={str(target.folder): {"bind": "/tls", "mode": "ro"}},
        )
        self.tls_port = SMTPS if "I" in config else None
        try:
            self.host = self._address()
            self._await_greeting()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def _address(self) -> str:
        self.container.reload()
        return str(self.container.attrs["NetworkSettings"]["Networks"][network()]["IPAddress"])

    def _await_greeting(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError, ClosedError), self.connect() as wire:
                if wire.reply()[:4] == b"220 " and self._tell("memory"):
                    return
            time.sleep(0.1)
        raise RuntimeError(f"no greeting: {self.logs()[-500:]}")

    def _tell(self, word: str) -> bytes:
        with socket.create_connection((self.host, WINDOW), START_SECONDS) as window:
            window.sendall(f"{word}\n".encode())
            return b"".join(iter(lambda: window.recv(1 << 20), b""))

    def connect(self, port: int | None = None, window: int = 0) -> Wire:
        wire = Wire((self.host, port or self.port), "", self.deadline, window)
        wire.takes_batches = self.target.takes_batches
        wire.preface = PREFACE
        return wire

    def clear(self) -> None:
        self._tell("clear")

    def messages(self) -> list[Stored]:
        return list(kept(self._tell("messages"), are_names_in_order=self.target.knows_order))

    def logs(self) -> str:
        return str(self.container.logs().decode("utf-8", "replace"))

    def _memory(self) -> dict[bytes, tuple[int, int]]:
        lines = [line.split() for line in self._tell("memory").splitlines()]
        return {pid: (int(now) * 1024, int(peak) * 1024) for pid, now, peak in lines}

    @contextlib.contextmanager
    def growth(self) -> Iterator[Callable[[], int]]:
        """Yield how far any process rose, one made since then from nothing."""
        before = self._memory()
        yield lambda: max(
            peak - before.get(pid, (0, 0))[0] for pid, (_, peak) in self._memory().items()
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        code = 137
        if number != signal.SIGKILL:
            self.container.kill(signal=signal.Signals(number).name)
            code = self.container.wait(timeout=STOP_SECONDS)["StatusCode"]
        with contextlib.suppress(DockerException):
            self.container.remove(force=True, v=True)
        return int(code)


class PeerTarget(Target):
    """A server from a Debian package."""

    is_direct = True
    letters = ""
    package = ""  # where it is not the name

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._failed: dict[str, str] = {}  # It would fail again, and take as long.

    @functools.cached_property
    def image(self) -> str:
        """The id of the peer's image, built when it is first asked for.

        Raises:
            RuntimeError: it cannot be built; the text is the end of the build's log.

        """
        client = docker.from_env(timeout=600)
        ensure_base(client)
        try:
            image, _ = client.images.build(
                path=str(HERE),
                dockerfile=f"{self.name}/Dockerfile",
                tag=f"prixfixe-peer-{self.name}",
                network_mode="host",
                rm=True,
                forcerm=True,
            )
        except BuildError as error:
            log = "".join(entry.get("stream", "") for entry in error.build_log)
            raise RuntimeError(log[-1000:]) from error
        return str(image.id)

    @functools.cached_property
    def version(self) -> str:
        """The version of the package."""
        words = ("-W", "-f", "${Version}", self.package or self.name)
        asked = once(self.image, *words, entrypoint=["dpkg-query"], seconds=START_SECONDS)
        assert asked.code == 0, asked
        return re.sub(r"^\d+:", "", asked.out).strip()

    def close(self) -> None:
        super().close()
        engine.sweep(engine.labels()[engine.LABEL])

    def start(self, config: str) -> Server:
        if missing := set(config) - set(self.letters):
            raise NotOfferedError("".join(sorted(missing)))
        if config in self._failed:
            raise RuntimeError(self._failed[config])
        _ = self.certificate
        try:
            return PeerServer(self, config)
        except RuntimeError as error:
            self._failed[config] = str(error)
            raise


class Postfix(PeerTarget):
    """Postfix; a text of an error is nothing its store could be given."""

    name, title = "postfix", "Postfix"
    letters = "DZTRAIOEWJUSC"


class OpenSMTPD(PeerTarget):
    """OpenSMTPD; its time limit, its least free space, a slow commit and AUTH in clear are not settings."""

    name, title = "opensmtpd", "OpenSMTPD"
    letters = "DZTRIJSCU"
    takes_batches = False
    knows_order = False


class Exim(PeerTarget):
    """Exim."""

    name, title = "exim", "Exim"
    package = "exim4-daemon-light"
    letters = "DZTRAIOEWJUSC"


PEERS: dict[str, type[PeerTarget]] = {one.name: one for one in (Postfix, OpenSMTPD, Exim)}
