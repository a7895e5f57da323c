"""Servers as processes, each with a trouble that cannot be made in a container within a minute.

The troubles are real: a writer thread whose syncs strace delays, a process that is stopped half of
the time, a log with a changed bit, a clock seven hours behind, a program with a defect, a standby
that is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prixfixe.verify.dialogue.wire import ClosedError, Wire
from tests.conformance.targets import PrixFixeProcess, ProcessServer
from tests.container.deployed import taken_port
from tests.container.talk import envelope
from tests.durability.strace import attached
from tests.support import pg_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["TROUBLES", "mail_to"]

MODULE = (sys.executable, "-m", "prixfixe")
HOURS_BEHIND = 7  # more than the six of the alert
# The server looks at its loop a second after it did so last, in the middle of the next stall.
STALL_SECONDS, GO_SECONDS = 1.5, 0.3
MISSING_SECONDS = 45  # until the alert of a standby that is missing
SYNC_MICROSECONDS = 1_500_000
# A server that counts every connection with a result that its table of metrics does not have.
DEFECT = """
import sys
from prixfixe.cli.main import main
from prixfixe.telemetry.metrics import Metrics
count = Metrics.connection
Metrics.connection = lambda self, listener, _result: count(self, listener, "surprising")
sys.exit(main())
"""


class Server(PrixFixeProcess):
    """One of them; `metrics` is where they are."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str] = {},
        *,
        command: tuple[str, ...] = MODULE,
        http: int = 0,
    ) -> None:
        settings = {
            "SMTP_BIND": "127.0.0.1",
            "SMTP_PORT": "0",
            "SMTP_HTTP_BIND": "127.0.0.1",
            "SMTP_HTTP_PORT": str(http),
            "SMTP_STORE": f"sqlite:{folder}/mail.db",
            "SMTP_LOG_FORMAT": "json",
        }
        super().__init__([*command, "serve"], {**settings, **environ}, folder)
        self.metrics = self._fact("http")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.http.close()
        ProcessServer.stop(self, signal.SIGKILL)

    @property
    def told_pid(self) -> int:
        """The server's process, as its log has it."""
        found = re.search(r'"pid":(\d+)', self.logs())
        assert found
        return int(found[1])

    @property
    def writer(self) -> int:
        """The thread that writes the store, by the name it goes by."""
        [found] = [
            int(task.name)
            for task in Path(f"/proc/{self.pid}/task").iterdir()
            if (task / "comm").read_text().strip() == "store-writer"
        ]
        return found


def mail_to(port: int) -> None:
    """Send one message; a server that goes away meanwhile is no fault."""
    with contextlib.suppress(OSError, ClosedError), Wire(("127.0.0.1", port)) as wire:
        wire.reply()
        wire.ask(b"EHLO client.test\r\n")
        envelope(wire)
        wire.send(b"Subject: alerts\r\n\r\nx\r\n.\r\n")
        wire.reply()


@contextlib.contextmanager
def repeating(step: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something in a thread until the end, which an event tells it too."""
    is_over = threading.Event()

    def go() -> None:
        while not is_over.is_set():
            step(is_over)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(60)


@contextlib.contextmanager
def slow_disk(folder: Path, _seen: threading.Event) -> Iterator[str]:
    """Every sync of the store takes a second and a half."""
    rule = ("-e", f"inject=fdatasync,fsync:delay_exit={SYNC_MICROSECONDS}")
    with (
        Server(folder) as server,
        attached(server.writer, *rule),
        repeating(lambda _over: mail_to(server.port)),
    ):
        yield server.metrics


@contextlib.contextmanager
def starved(folder: Path, _seen: threading.Event) -> Iterator[str]:
    """The process gets no processor for a second and a half, again and again."""
    with Server(folder) as server:

        def stall(is_over: threading.Event) -> None:
            server.process.send_signal(signal.SIGSTOP)
            is_over.wait(STALL_SECONDS)
            server.process.send_signal(signal.SIGCONT)
            is_over.wait(GO_SECONDS)

        with repeating(stall):
            yield server.metrics


@contextlib.contextmanager
def behind(folder: Path, _seen: threading.Event) -> Iterator[str]:
    """The last mail was accepted hours ago, by a clock that is late."""
    command = ("faketime", "-m", "-f", f"-{HOURS_BEHIND}h", *MODULE)
    environ = {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with Server(folder, environ, command=command) as server:
        mail_to(server.port)
        try:
            yield server.metrics
        finally:  # the server itself, which would outlive faketime
            os.kill(server.told_pid, signal.SIGKILL)


@contextlib.contextmanager
def restarting(folder: Path, _seen: threading.Event) -> Iterator[str]:
    """It is killed as soon as it was ready, and started again."""
    with taken_port() as port:

        def start(is_over: threading.Event) -> None:
            with Server(folder, {"SMTP_STORE": "memory:"}, http=port):
                is_over.wait(1.3)  # long enough to be scraped

        with repeating(start):
            yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def damaged(folder: Path, _seen: threading.Event) -> Iterator[str]:
    """A disk changed a bit in the middle of the log, before the store was opened again."""
    with Server(folder) as server:
        for _ in range(6):
            mail_to(server.port)
    log = folder / "mail.db-wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with Server(folder) as server:
        yield server.metrics


@contextlib.contextmanager
def defective(folder: Path, _seen: threading.Event) -> Iterator[str]:
    """The program has a defect."""
    with Server(folder, command=(sys.executable, "-c", DEFECT)) as server:
        mail_to(server.port)
        yield server.metrics


@contextlib.contextmanager
def without_a_standby(folder: Path, was_seen: threading.Event) -> Iterator[str]:
    """Of two synchronous standbys one goes away as soon as Prometheus has seen both.

    It misses mail, and is then promoted.
    """
    with pg_cluster.running() as cluster:
        cluster.wait_for_standbys(2)
        store = {"SMTP_STORE": cluster.new_url(), "SMTP_STORE_QUORUM": "1"}
        with Server(folder, store) as server:
            gone = next(one for one in cluster.nodes if one is not cluster.primary)

            def leave(is_over: threading.Event) -> None:
                if not was_seen.wait(0.2) or is_over.is_set():
                    return
                if cluster.primary is not gone:
                    gone.stop()
                    cluster.wait_for_standbys(1)
                    mail_to(server.port)
                    is_over.wait(MISSING_SECONDS)
                    cluster.primary.kill()
                    gone.start()
                    cluster.promote(gone)
                mail_to(server.port)
                is_over.wait(5)  # it asks for standbys between messages

            with repeating(leave):
                yield server.metrics


TROUBLES = {
    "slow": slow_disk,
    "starved": starved,
    "behind": behind,
    "restarting": restarting,
    "damaged": damaged,
    "defective": defective,
    "alone": without_a_standby,
}
