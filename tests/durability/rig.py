"""Start, kill and restart `prixfixe serve` on one store, with one ledger.

The server listens on free ports of the loopback interface. `close` ends a server that a scenario
left running, and each start has a log of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.targets import PrixFixeProcess
from tests.durability.client import Client, deliver_until_dead
from tests.durability.evidence import from_api, from_store
from tests.durability.ledger import Ledger, compare
from tests.durability.waiting import DEADLINE, until

__all__ = ["STORES", "Process", "Running", "Stand"]

STORES = ("sqlite", "maildir")


class Process:
    """A server's process as the kernel shows it, wherever it runs: `main` is its id here."""

    main: int
    writer: int  # the thread that writes the store

    def look(self, main: int) -> None:
        """Note the process and the thread that writes the store, by the name it goes by."""
        self.main = main
        self.writer = next(each for each in self.tasks() if self.name(each) == "store-writer")

    def name(self, task: int) -> str:
        """Return what the kernel calls a thread."""
        return Path(f"/proc/{self.main}/task/{task}/comm").read_text(encoding="utf-8").strip()

    def tasks(self) -> list[int]:
        """Return the threads."""
        return sorted(int(each.name) for each in Path(f"/proc/{self.main}/task").iterdir())

    def descriptors(self) -> int:
        """Return how many files the server has open."""
        return len(os.listdir(f"/proc/{self.main}/fd"))

    def has_ended(self) -> bool:
        """Whether the process is over, though perhaps not yet waited for."""
        status = Path(f"/proc/{self.main}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.main, number)

    def stop_between_calls(self) -> None:
        """Stop every thread where no system call is under way."""
        self.signal(signal.SIGSTOP)
        states = [Path(f"/proc/{self.main}/task/{each}/stat") for each in self.tasks()]
        stopped = until(
            lambda: all(each.read_text().rpartition(")")[2].split()[0] in "Tt" for each in states)
        )
        assert stopped, "the server does not stop"

    def resume(self) -> None:
        """Go on."""
        self.signal(signal.SIGCONT)


class Running(Process, PrixFixeProcess):
    """A started server."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        super().__init__(command, environ, folder)
        # Under strace the server is a child, and its log tells which.
        told = until(lambda: re.search(r'"pid":(\d+)', self.logs()))
        self.look(int(told[1]))

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        self.http.close()
        return self.process.wait(DEADLINE)

    def terminate(self) -> int:
        """Ask the server to stop; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the server as a crash does."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.wait()


class Stand:
    """One store, one ledger, one server at a time. `fault` breaks the server; see `faulty`."""

    def __init__(self, folder: Path, technology: str, fault: str = "", **environ: str) -> None:
        self.technology = technology
        self.logs = folder / "logs"
        self.fault = fault
        self.environ = environ
        self.ledger = Ledger()
        self.server: Running | None = None
        self._starts = 0
        root = folder / "root"
        root.mkdir()
        self.place(root)

    def place(self, folder: Path) -> None:
        """Name where the store is."""
        self.root = folder
        name = "mail/mail.db" if self.technology == "sqlite" else "mail"
        self.url = f"{self.technology}:{folder / name}"

    def start(self, *before: str, **environ: str) -> Running:
        """Start a server on the store."""
        module = "tests.durability.faulty" if self.fault else "prixfixe"
        command = [*before, sys.executable, "-m", module, "serve"]
        self._starts += 1
        self.server = Running(
            command,
            {
                "SMTP_BIND": "127.0.0.1",
                "SMTP_PORT": "0",
                "SMTP_HTTP_BIND": "127.0.0.1",
                "SMTP_HTTP_PORT": "0",
                "SMTP_STORE": self.url,
                "SMTP_STORE_MIN_FREE": "0",
                "SMTP_LOG_FORMAT": "json",
                "FAULT": self.fault,
                **self.environ,
                **environ,
            },
            self.logs / str(self._starts),
        )
        return self.server

    def restart(self) -> Running:
        """Start again after a crash."""
        if self.server is not None:
            self.server.kill()
        return self.start()

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Yield a session with the server."""
        assert self.server is not None
        with Client(self.server.port, self.ledger) as client:
            yield client

    def send(self, octets: int = 2000) -> int:
        """Send a message in a session of its own; return the code."""
        with self.client() as client:
            return client.send(octets)

    def crowd(self, clients: int, sizes: list[list[int]]) -> None:
        """Have many clients send until the server is gone; return when all have ended."""
        assert self.server is not None
        port = self.server.port
        threads = [
            threading.Thread(target=deliver_until_dead, args=(port, self.ledger, each))
            for each in sizes[:clients]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def problems(self, *, by_api: bool = False, may_refused_stay: bool = False) -> list[str]:
        """Compare the ledger with the store."""
        found = compare(self.ledger, from_store(self.url), may_refused_stay=may_refused_stay)
        if by_api and self.server is not None:
            seen = from_api(self.server)
            over_http = compare(self.ledger, seen, may_refused_stay=may_refused_stay)
            found += [f"over HTTP: {each}" for each in over_http]
        return found

    def recovered(self, *, may_refused_stay: bool = False) -> list[str]:
        """Start again, compare through every interface, and see that mail is taken."""
        self.restart()
        found = self.problems(by_api=True, may_refused_stay=may_refused_stay)
        if self.send() != 250:
            found.append("after the restart no mail was taken")
        return found

    def close(self) -> None:
        """End the server."""
        if self.server is not None and self.server.process.poll() is None:
            self.server.kill()
