"""Profile servers under load with py-spy: `python -m tests.bench.profiling`.

It samples the stacks of stock aiosmtpd and of PrixFixe under the same load, and measures the
processor time of a message without py-spy. Native frames are included, so that kernel time and
Python time can be told apart. Stores that wait for a disk are left out, because py-spy counts that
wait as work.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.generator import WORKLOADS, send
from tests.bench.rivals import RIVALS
from tests.bench.runner import WARM_UP, rest, started, worked
from tests.bench.stacks import shares, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.rivals.base import Running

COMPARED = ("aiosmtpd-asyncio", "aiosmtpd-uvloop", "prixfixe-discard")
WORKLOAD = WORKLOADS["1KiB-same"]
BATCH = 2000  # messages sent at a time, until the time is over


def profile(server: Running, seconds: int) -> str:
    """Return what py-spy recorded while mail came."""
    is_over = threading.Event()

    def load() -> None:
        while not is_over.is_set():
            send(server.address, WORKLOAD, BATCH)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        with tempfile.NamedTemporaryFile("r") as file:
            words = f"py-spy record --native --rate 200 --format raw --duration {seconds} -o"
            command = [*words.split(), file.name, "--pid", str(server.root().pid)]
            subprocess.run(command, check=True, capture_output=True)
            return Path(file.name).read_text()
    finally:
        is_over.set()
        thread.join()


def cost(server: Running, messages: int = 10 * BATCH) -> float:
    """Return microseconds of processor time a message, nobody looking."""
    send(server.address, WORKLOAD, WARM_UP)
    rest(server)
    _, busy = worked(server, lambda: send(server.address, WORKLOAD, messages))
    return busy / messages * 1e6


def main(words: Sequence[str]) -> int:
    """Profile each and print a table of Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profiling", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    asked = parser.parse_args(words)
    found = {}
    for key in COMPARED:
        with started(RIVALS[key]) as server:
            found[RIVALS[key].title] = cost(server), shares(profile(server, asked.seconds))
    print(table(found))  # noqa: T201 - what it is for
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
