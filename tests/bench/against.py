"""`python -m tests.bench.against COMMIT`: compare an earlier commit with the working tree.

Both servers run at once on empty stores and take turns, sample by sample; the order changes with
each sample. The cost of a message is given as 25th percentile and median, because other load on
the machine only adds to it.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.comparison import told
from tests.bench.generator import CONNECTIONS, WORKLOADS, send
from tests.bench.rivals.ours import STORES, PrixFixe
from tests.bench.runner import WARM_UP, rest, started, worked
from tests.bench.summary import turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.rivals.base import Running

ROOT = Path(__file__).parents[2]


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.against", description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--store", choices=STORES, default="discard")
    parser.add_argument("--workload", choices=WORKLOADS, default="1KiB-same")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--messages", type=int, default=3000, help="in a sample")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Compare and tell."""
    asked = arguments(words)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        unpack(asked.commit, folder)
        servers = {
            name: stack.enter_context(started(PrixFixe(asked.store), PYTHONPATH=path))
            for name, path in ((asked.commit, folder), ("now", str(ROOT)))
        }
        samples = play(servers, asked)
    sys.stdout.write(told(samples))
    return 0


def unpack(commit: str, folder: str) -> None:
    """Put the package of a commit into a folder."""
    packed = subprocess.run(
        ["git", "archive", commit, "prixfixe"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)


def play(
    servers: dict[str, Running], asked: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """Return for each server and sample what a message took, in us: time and processor time."""
    workload = WORKLOADS[asked.workload]
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    for server in servers.values():
        send(server.address, workload, WARM_UP, asked.connections)
    for number in range(asked.samples):
        for name in turned(list(servers), number):
            rest(servers[name])
            seconds, busy = worked(
                servers[name],
                partial(send, servers[name].address, workload, asked.messages, asked.connections),
            )
            samples[name].append((seconds / asked.messages * 1e6, busy / asked.messages * 1e6))
    return samples


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
