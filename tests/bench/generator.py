"""The load generator: Postfix's smtp-source, which is written in C and independent of PrixFixe.

A sample is the time of one run that sent all its messages; a failed run raises `GeneratorError`.
It sends to 127.0.0.0/8 only. `messages_for` bounds how many messages a sample has.
"""

from __future__ import annotations

import subprocess
import time
from typing import NamedTuple

__all__ = [
    "CONNECTIONS",
    "WORKLOADS",
    "GeneratorError",
    "Workload",
    "command",
    "messages_for",
    "send",
]

CONNECTIONS = 20
_MOST = 40_000  # messages of a sample
_SECONDS = 60  # far more than a sample takes


class GeneratorError(Exception):
    """The generator failed: a connection was refused, or an answer was not 250."""


class Workload(NamedTuple):
    """Messages of one size, many on a connection or each on its own."""

    size_kib: int
    is_own: bool

    @property
    def key(self) -> str:
        """The name in samples."""
        return f"{self.size_kib}KiB-{'own' if self.is_own else 'same'}"

    @property
    def title(self) -> str:
        """The name in tables."""
        return f"{self.size_kib} KiB, {'own' if self.is_own else 'same'}"


WORKLOADS = {
    one.key: one
    for is_own in (False, True)
    for size in (1, 10, 100)
    for one in [Workload(size, is_own)]
}


def command(
    address: tuple[str, int], workload: Workload, count: int, connections: int = CONNECTIONS
) -> list[str]:
    """Return the command that sends so many messages."""
    if not address[0].startswith("127."):
        raise GeneratorError(f"{address[0]} is not this machine")
    words = ["smtp-source", "-s", str(connections), "-l", str(workload.size_kib * 1024)]
    words += [] if workload.is_own else ["-d"]
    words += ["-f", "bench@example.com", "-t", "bench@example.com", "-M", "bench.example.com"]
    return [*words, "-m", str(count), f"{address[0]}:{address[1]}"]


def send(
    address: tuple[str, int], workload: Workload, count: int, connections: int = CONNECTIONS
) -> float:
    """Send and return the seconds it took."""
    began = time.perf_counter()
    asked = command(address, workload, count, connections)
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise GeneratorError(f"{' '.join(asked)}: not done in {_SECONDS} s") from None
    seconds = time.perf_counter() - began
    if done.returncode or done.stderr:
        raise GeneratorError(f"{' '.join(done.args)}: {done.stderr[-500:]}")
    return seconds


def messages_for(rate: float, seconds: float) -> int:
    """Return how many messages of this rate last about so many seconds."""
    return max(100, min(_MOST, round(rate * seconds)))
