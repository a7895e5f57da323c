"""Three servers under load on one cluster, whose primary is taken away again and again.

The ledger is kept by the clients. A failover is a fault of the primary, the promotion of the most
advanced standby after a while, and the return of the old primary as a standby.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.verify.dialogue.wire import ClosedError
from tests.durability.client import Client
from tests.durability.evidence import from_store
from tests.durability.ledger import Ledger, compare
from tests.durability.rig import Running
from tests.durability.waiting import until

if TYPE_CHECKING:
    from tests.support.pg_cluster import Cluster

__all__ = ["FAULTS", "Failover", "Fleet"]

SIZES = (300, 2000, 2000, 2000, 20_000, 100_000)
BETWEEN = 150  # acknowledgements between two failovers
SERVERS = 3
FAULTS = ("kill", "stop", "freeze", "freeze and thaw")


class Failover(NamedTuple):
    """One failover. `gaps` are each server's seconds without an acknowledgement after it."""

    fault: str
    seconds: float
    gaps: tuple[float, ...]


class Fleet:
    """The servers, their clients and the ledger."""

    def __init__(
        self, cluster: Cluster, folder: Path, seed: int, *, url: str = "", fault: str = ""
    ) -> None:
        self.cluster = cluster
        self.url = url or cluster.new_url()
        self.fault = fault  # of the servers; see `faulty`
        self.ledger = Ledger(seed)
        self.codes: set[int] = set()
        self._random = random.Random(seed)
        self._folder = folder
        self._is_over = threading.Event()
        self._forgotten = 0
        self.servers = [self._start(number) for number in range(SERVERS)]
        self._last = [0.0] * SERVERS
        self._first_after = [0.0] * SERVERS
        self._mark = float("inf")
        self._threads = [
            threading.Thread(target=self._send, args=(number, each))
            for number in range(SERVERS)
            for each in range(3)
        ]
        for thread in self._threads:
            thread.start()

    def _start(self, number: int) -> Running:
        module = "tests.durability.faulty" if self.fault else "prixfixe"
        return Running(
            [sys.executable, "-m", module, "serve"],
            {
                "SMTP_BIND": "127.0.0.1",
                "SMTP_PORT": "0",
                "SMTP_HTTP_BIND": "127.0.0.1",
                "SMTP_HTTP_PORT": "0",
                "SMTP_STORE": self.url,
                "SMTP_LOG_FORMAT": "json",
                "FAULT": self.fault,
            },
            self._folder / f"server{number}",
        )

    # --- clients

    def _send(self, number: int, each: int) -> None:
        chance = random.Random(f"{number} {each}")
        while not self._is_over.is_set():
            try:
                with Client(self.servers[number].port, self.ledger) as client:
                    while not self._is_over.is_set():
                        self._note(number, client.send(chance.choice(SIZES)))
            except (ClosedError, ConnectionError):
                time.sleep(0.02)

    def _note(self, number: int, code: int) -> None:
        self.codes.add(code)
        if code == 250:
            now = time.monotonic()
            self._last[number] = now
            if now > self._mark and self._first_after[number] < self._mark:
                self._first_after[number] = now

    def flows(self, count: int = BETWEEN) -> None:
        """Wait until so many more are acknowledged, and some by each server."""
        before, since = len(self.ledger.kept), time.monotonic()

        def does() -> bool:
            return len(self.ledger.kept) >= before + count and min(self._last) > since

        for each in self.ledger.sent[self._forgotten :]:
            if each.code:  # the digest is all that is compared
                each.body = b""
        self._forgotten = max(0, len(self.ledger.sent) - 100)
        assert until(does, 90.0), f"no mail is taken: {self.codes}, {self._last}, {since}"

    # --- failovers

    def fail_over(self, fault: str) -> Failover:
        """Take the primary away, promote another, and bring the old one back as a standby."""
        old = self.cluster.primary
        began = time.monotonic()
        {"kill": old.kill, "stop": old.stop}.get(fault, old.freeze)()
        time.sleep(self._random.uniform(0.05, 0.6))  # until a failover manager notices
        self.cluster.promote()
        self._mark = promoted = time.monotonic()
        if fault == "freeze and thaw":
            time.sleep(self._random.uniform(0.0, 2.0))
            old.thaw()
        self.flows()
        gaps = tuple(max(0.0, first - promoted) for first in self._first_after)
        self.cluster.rejoin(old)
        self.cluster.wait_for_standbys(2)
        self.flows(20)
        return Failover(fault, time.monotonic() - began, gaps)

    def chosen(self, count: int) -> list[str]:
        """Return faults for so many failovers: each kind in turn, in an order by the seed."""
        faults = [FAULTS[number % len(FAULTS)] for number in range(count)]
        self._random.shuffle(faults)
        return faults

    # --- the end

    def stop(self) -> None:
        """End the load, and wait for the last answers."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(90.0)

    def problems(self) -> list[str]:
        """Compare the ledger with the store; what was refused may be there all the same."""
        return compare(self.ledger, from_store(self.url), may_refused_stay=True)

    def defects(self) -> list[str]:
        """Return what servers say of themselves that is wrong."""
        found = []
        for number, server in enumerate(self.servers):
            if "Traceback" in server.logs():
                found.append(f"server {number} has a defect: see its log")
            if not until(lambda server=server: self.is_whole(server), 60.0):  # type: ignore[misc]
                found.append(f"server {number} is not ready, or its index has stopped")
        return found

    def is_ready(self, server: Running) -> bool:
        """Whether a server is ready."""
        return _readiness(server)[0] == 200

    def is_whole(self, server: Running) -> bool:
        """Whether a server is ready, and its index goes on."""
        status, text = _readiness(server)
        return status == 200 and b"stopped" not in text

    def close(self) -> None:
        """End everything."""
        self.stop()
        for server in self.servers:
            server.kill()


def _readiness(server: Running) -> tuple[int, bytes]:
    server.http.close()  # an idle one may have been ended
    server.http.request("GET", "/readyz")
    answer = server.http.getresponse()
    return answer.status, answer.read()


def worst(failovers: list[Failover], *faults: str) -> float:
    """Return the longest gap after the promotion among some kinds of faults."""
    return max((max(one.gaps) for one in failovers if one.fault in faults), default=0.0)
