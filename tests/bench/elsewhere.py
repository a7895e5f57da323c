"""Measure how long a `wait` on one server takes to answer for mail that another server accepted.

The two servers share one PostgreSQL store. Each wait is registered before its mail is sent. The
time counts from the 250.
"""

from __future__ import annotations

import argparse
import http.client
import re
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.rivals.ours import PrixFixe
from tests.bench.rivals.replicated import Replicated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.rivals.base import Spawned

__all__ = ["main"]

REGISTERED_SECONDS = 0.03  # until a wait is there
WAIT = "/api/v1/wait?timeout=20&to="


def main(words: list[str]) -> int:
    """Measure at rest and under load; print milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.elsewhere", description=__doc__)
    parser.add_argument("--times", type=int, default=500)
    parser.add_argument("--rate", type=int, default=500, help="of other mail, messages a second")
    chosen = parser.parse_args(words)
    rival = Replicated()
    if why := rival.missing():
        sys.stderr.write(f"{why}\n")
        return 2
    sys.stdout.write(
        "| other mail a second | p50, ms | p99, ms | most, ms |\n| --- | --- | --- | --- |\n"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one, other = [stack.enter_context(_server(rival, folder / each)) for each in ("1", "2")]
        for rate in (0, chosen.rate):
            with _load(one, rate):
                sys.stdout.write(_row(rate, sorted(_times(one, other, rate, chosen.times))))
                sys.stdout.flush()
    return 0


@contextmanager
def _server(rival: Replicated, folder: Path) -> Iterator[Spawned]:
    folder.mkdir()
    settings = {"SMTP_STORE": rival.url(), "SMTP_HTTP_BIND": "127.0.0.1"}
    server = PrixFixe("postgresql").start(folder, **settings)
    try:
        yield server  # type: ignore[misc] # a process
    finally:
        server.stop()


@contextmanager
def _load(server: Spawned, rate: int) -> Iterator[None]:
    if not rate:
        yield
        return
    target = "{}:{}".format(*server.address)
    words = (target, "--messages=1000000", "--workers=5", f"--rate={rate}", "--size=1KiB")
    command = [sys.executable, "-m", "prixfixe", "load", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as load:
        time.sleep(1.0)
        try:
            yield
        finally:
            load.terminate()


def _times(one: Spawned, other: Spawned, rate: int, times: int) -> Iterator[float]:
    """Send to one, wait at the other; yield seconds from the 250 to the answer."""
    found = re.search(r" http=\S*?:(\d+)", other.log())
    assert found is not None
    asking = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
    with smtplib.SMTP(*one.address) as client:
        for number in range(times):
            name = f"r{number}.{rate}@example.net"
            asking.request("GET", WAIT + name)
            time.sleep(REGISTERED_SECONDS)
            client.sendmail("a@example.org", [name], f"Subject: {number}\r\n\r\ntext\r\n")
            kept = time.perf_counter()
            answer = asking.getresponse()
            answer.read()
            yield time.perf_counter() - kept
            assert answer.status == 200, answer.status
    asking.close()


def _row(rate: int, times: list[float]) -> str:
    p99 = statistics.quantiles(times, n=100)[-1]
    cells = (statistics.median(times), p99, times[-1])
    return f"| {rate} | " + " | ".join(f"{1000 * one:.1f}" for one in cells) + " |\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
