"""Measure what one scrape of the metrics a second costs: `python -m tests.bench.scrape`.

Samples with and without scrapes take turns on one server at its highest rate, with the store
`discard` and the same messages. Processor time is the server's and includes the scrapes.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING

from tests.bench.generator import WORKLOADS, send
from tests.bench.rivals.ours import PrixFixe
from tests.bench.runner import rest, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.rivals.base import Spawned

MESSAGES = 20_000
WORKLOAD = WORKLOADS["1KiB-same"]


@contextlib.contextmanager
def scraping(url: str) -> Iterator[list[int]]:
    """Read the page now and each second until the end; yield the octets of each."""
    pages: list[int] = []
    is_over = threading.Event()

    def scrape() -> None:
        while True:
            with urllib.request.urlopen(url, timeout=10) as answer:
                pages.append(len(answer.read()))
            if is_over.wait(1):
                return

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield pages
    finally:
        is_over.set()
        thread.join()


def sample(server: Spawned, *, is_scraped: bool) -> tuple[float, float, int]:
    """Return messages a second, microseconds of processor a message, and scrapes."""
    found = re.search(r" http=(\S+)", server.log())
    url = f"http://{found[1] if found else ''}/metrics"
    rest(server)
    before = server.busy_seconds()
    with scraping(url) if is_scraped else contextlib.nullcontext([]) as pages:
        seconds = send(server.address, WORKLOAD, MESSAGES)
    rest(server)
    return MESSAGES / seconds, (server.busy_seconds() - before) / MESSAGES * 1e6, len(pages)


def main(words: list[str]) -> int:
    """Measure, and print a line a round and the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scrape", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(words).rounds
    samples: dict[bool, list[tuple[float, float, int]]] = {False: [], True: []}
    with started(PrixFixe("discard")) as server:
        send(server.address, WORKLOAD, MESSAGES // 4)  # the first messages are slower
        for number in range(rounds):
            for is_scraped in (number % 2 == 0, number % 2 == 1):
                found = sample(server, is_scraped=is_scraped)  # type: ignore[arg-type]
                samples[is_scraped].append(found)
                say(is_scraped, *found)
    sys.stdout.write("medians\n")
    for is_scraped, all_of in samples.items():
        say(is_scraped, *map(statistics.median, zip(*all_of, strict=True)))
    return 0


def say(is_scraped: bool, rate: float, busy: float, scrapes: float) -> None:
    """Print one line."""
    name = "scraped" if is_scraped else "not"
    sys.stdout.write(f"{name:8}{rate:8.0f}/s {busy:6.1f} us {scrapes:3.0f} scrapes\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
