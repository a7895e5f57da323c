"""The interfaces of a compared server, `Rival` and `Running`, and servers that are processes.

A server listens on 127.0.0.1 only and has a folder of its own with a log in it. `stop` ends it and
all its children.
"""

from __future__ import annotations

import abc
import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.bench.generator import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NotStartedError", "Rival", "Running", "Spawned", "awaited", "free_port", "greets"]

START_SECONDS = 30.0
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.002  # the grain of start-to-ready


class NotStartedError(Exception):
    """The server ended, or was not ready in time; the text is the end of its log."""


class Running(abc.ABC):
    """One running server. `seconds` is how long it took from exec until it was ready."""

    address: tuple[str, int]
    seconds: float

    @abc.abstractmethod
    def root(self) -> psutil.Process:
        """Return the process all others of the server come from."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop and wait for the end."""

    def processes(self) -> list[psutil.Process]:
        """Return every process of the server."""
        root = self.root()
        return [root, *root.children(recursive=True)]

    def rss_bytes(self) -> int:
        """Return the resident memory of all processes, pages they share counted in each."""
        return sum(_ask(one, lambda one: one.memory_info().rss) for one in self.processes())

    def busy_seconds(self) -> float:
        """Return the processor time taken so far, kernel included, that of ended children too."""
        return sum(_ask(one, lambda one: sum(one.cpu_times()[:4])) for one in self.processes())


def _ask(process: psutil.Process, question: Callable[[psutil.Process], float]) -> float:
    try:
        return question(process)
    except psutil.NoSuchProcess:
        return 0


class Rival(abc.ABC):
    """A server that can be compared: `key` in arguments and samples, `title` in tables.

    `version` is that of `program`, which other rivals may be too.
    """

    key: str
    title: str
    program: str
    connections = CONNECTIONS  # of the generator

    @abc.abstractmethod
    def missing(self) -> str:
        """Return why it cannot be had here, or nothing."""

    @abc.abstractmethod
    def version(self) -> str:
        """Return what was compared."""

    @abc.abstractmethod
    def start(self, folder: Path, **settings: str) -> Running:
        """Start with an empty store below the folder; wait until it is ready.

        Raises:
            NotStartedError: it does not get there.

        """


class Spawned(Running):
    """A server in a process of ours, which leads a process group."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        ready: Callable[[Spawned], tuple[str, int] | None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._log = folder / "log"
        began = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.address = awaited(lambda: ready(self), lambda: self._process.poll() is None)
        except NotStartedError:
            self.stop()
            raise NotStartedError(f"{command}: {self.log()[-2000:]}") from None
        self.seconds = time.perf_counter() - began

    def root(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    def log(self) -> str:
        """Return what it wrote so far."""
        return self._log.read_text("utf-8", "replace")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def awaited(
    ready: Callable[[], tuple[str, int] | None], alive: Callable[[], bool] = lambda: True
) -> tuple[str, int]:
    """Wait for an address.

    Raises:
        NotStartedError: the server ended, or time is up.

    """
    until = time.perf_counter() + START_SECONDS
    while time.perf_counter() < until and alive():
        if address := ready():
            return address
        time.sleep(_POLL_SECONDS)
    raise NotStartedError("no address in time")


def free_port() -> int:
    """Return a port that was free just now, for servers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def greets(port: int) -> tuple[str, int] | None:
    """Return the address once a server greets there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as door:
        if door.recv(4) == b"220 ":
            door.sendall(b"QUIT\r\n")
            return "127.0.0.1", port
    return None
