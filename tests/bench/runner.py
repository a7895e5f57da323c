"""Run the rounds of a benchmark: each round measures every server in turn.

A round starts each server with an empty store, warms it up, and puts another server first. A
sample begins when the server is idle. A server that fails is out of the run with its reason, and
the others go on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from tests.bench.generator import GeneratorError, messages_for, send
from tests.bench.rivals.base import NotStartedError
from tests.bench.summary import turned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.generator import Workload
    from tests.bench.rivals.base import Rival, Running

__all__ = ["Rounds", "rest", "started", "worked"]

T = TypeVar("T")

WARM_UP = 200  # messages
REST_SECONDS = 10.0


@contextlib.contextmanager
def started(rival: Rival, **settings: str) -> Iterator[Running]:
    """Run a server on an empty folder, which is removed with it."""
    folder = Path(tempfile.mkdtemp(prefix="prixfixe-bench-"))
    folder.chmod(0o755)  # Postfix and smtp-sink become other users
    try:
        server = rival.start(folder, **settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rest(server: Running) -> None:
    """Wait until a server does nothing any more: some work on after their answer."""
    until = time.monotonic() + REST_SECONDS
    before = -1.0
    while time.monotonic() < until and (now := server.busy_seconds()) - before > 0.01:
        before = now
        time.sleep(0.1)


def worked(server: Running, work: Callable[[], T]) -> tuple[T, float]:
    """Have work done by a server at rest; return what is told of it, and its processor seconds."""
    before = server.busy_seconds()
    told = work()
    rest(server)
    return told, server.busy_seconds() - before


class Rounds:
    """One run over servers and workloads. `tell` gets a line of progress at a time."""

    def __init__(
        self,
        rivals: dict[str, Rival],
        workloads: list[Workload],
        tell: Callable[[str], None],
        seconds: float = 1.0,
    ) -> None:
        self._rivals = rivals
        self._workloads = workloads
        self._tell = tell
        self._seconds = seconds
        self._counts: dict[tuple[str, str], int] = {}
        self.samples: list[dict[str, Any]] = []
        self.failed: dict[str, str] = {}

    def play(self, rounds: int) -> None:
        """Play so many rounds."""
        for number in range(rounds):
            self._round(number)

    def _round(self, number: int) -> None:
        with contextlib.ExitStack() as stack:
            servers: dict[str, Running] = {}
            for name in turned([one for one in self._rivals if one not in self.failed], number):
                with self._excused(name):
                    servers[name] = stack.enter_context(started(self._rivals[name]))
                    self._send(name, servers[name], self._workloads[0], WARM_UP)
            for workload in self._workloads:
                self._tell(f"round {number + 1}: {workload.title}, load {os.getloadavg()[0]:.1f}")
                for name, server in servers.items():
                    if name not in self.failed:
                        with self._excused(name):
                            self._sample(number, name, server, workload)

    def _sample(self, number: int, name: str, server: Running, workload: Workload) -> None:
        count = self._counts.get((name, workload.key)) or self._fitting(name, server, workload)
        seconds, busy = worked(server, lambda: self._send(name, server, workload, count))
        self.samples.append(
            {
                "round": number,
                "server": name,
                "workload": workload.key,
                "messages": count,
                "seconds": round(seconds, 4),
                "busy": round(busy, 3),
                "load": os.getloadavg()[0],
            }
        )
        self._tell(f"  {name:<20}{count / seconds:>10,.0f} a second")

    def _fitting(self, name: str, server: Running, workload: Workload) -> int:
        """Find how many messages last as long as a sample should; those sent do not count."""
        count = WARM_UP
        for part in (0.3, 1.0):
            seconds = self._send(name, server, workload, count)
            count = messages_for(count / seconds, part * self._seconds)
        rest(server)
        self._counts[name, workload.key] = count
        return count

    def _send(self, name: str, server: Running, workload: Workload, count: int) -> float:
        return send(server.address, workload, count, self._rivals[name].connections)

    @contextlib.contextmanager
    def _excused(self, name: str) -> Iterator[None]:
        try:
            yield
        except (NotStartedError, GeneratorError, psutil.Error) as error:
            self.failed[name] = str(error)
            self._tell(f"  {name} is out: {error}")
