"""PrixFixe as users run it in Docker: the image, hardened, with its port published on 127.0.0.1.

Each start has a container and a volume of its own, and `stop` removes both. Its numbers cannot be
compared with those of other servers, because every byte also passes through Docker's proxy, a
process on the same processors.
"""

from __future__ import annotations

import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import psutil

from tests.bench.rivals.base import NotStartedError, Rival, Running, awaited, greets

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["IMAGE", "Image", "docker", "image_bytes"]

IMAGE = "prixfixe"
STORES = {"discard": "discard:", "sqlite": "sqlite:/var/mail/prixfixe.db"}
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def docker(*words: str) -> str:
    """Ask the engine.

    Raises:
        NotStartedError: it refuses, or there is none; the text says which.

    """
    try:
        done = subprocess.run(["docker", *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise NotStartedError("Docker is not installed") from None
    if done.returncode:
        raise NotStartedError(done.stderr.strip())
    return done.stdout.strip()


def image_bytes(name: str = IMAGE) -> int:
    """Return the size of an image, or 0 when there is none."""
    try:
        return int(docker("image", "inspect", "--format={{.Size}}", name))
    except NotStartedError:
        return 0


class Image(Rival):
    """The image with one of its stores."""

    program = "the image"

    def __init__(self, store: str) -> None:
        self.store = store
        self.key = f"image-{store}"
        self.title = f"PrixFixe in the container, `{store}`"

    def missing(self) -> str:
        return "" if image_bytes() else f"no image {IMAGE} (`nox -s image`)"

    def version(self) -> str:
        label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
        return f"of commit {docker('image', 'inspect', f'--format={label}', IMAGE)[:7]}"

    def start(self, folder: Path, **settings: str) -> Running:
        settings = {"SMTP_STORE": STORES[self.store], **settings}
        words = [f"--env={name}={value}" for name, value in settings.items()]
        return Container(IMAGE, 2525, "/var/mail", *HARDENED, *words)


class Container(Running):
    """A container with a port on 127.0.0.1 and a volume on the engine's disk."""

    def __init__(
        self, image: str, port: int, volume: str, *words: str, command: tuple[str, ...] = ()
    ) -> None:
        self._name = f"prixfixe-bench-{uuid.uuid4().hex[:8]}"
        mount = f"--volume={self._name}:{volume}"
        publish = [] if "--network=host" in words else [f"--publish=127.0.0.1::{port}"]
        began = time.perf_counter()
        try:
            docker(
                "run", "--detach", f"--name={self._name}", mount, *publish, *words, image, *command
            )
            if publish:
                port = int(docker("port", self._name, f"{port}/tcp").rpartition(":")[2])
            self.address = awaited(lambda: greets(port))
        except NotStartedError:
            self.stop()
            raise
        self.seconds = time.perf_counter() - began
        self._pid = int(docker("inspect", "--format={{.State.Pid}}", self._name))

    def run(self, *command: str) -> str:
        """Run a command in it and return what it said."""
        return docker("exec", self._name, *command)

    def root(self) -> psutil.Process:
        return psutil.Process(self._pid)

    def stop(self) -> None:
        docker("rm", "--force", "--volumes", self._name)
        docker("volume", "rm", "--force", self._name)
