"""Clients that go on sending, with a ledger outside the cluster, and a watch of /readyz."""

from __future__ import annotations

import random
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from prixfixe.verify.dialogue.wire import ClosedError
from tests.cluster.project import SERVERS, SMTP
from tests.container.waiting import eventually
from tests.durability.client import Client
from tests.durability.ledger import Evidence, Ledger, compare

if TYPE_CHECKING:
    from tests.cluster.project import Project

__all__ = ["Post", "Watch", "is_refused"]

SIZES = (300, 2000, 2000, 20_000)
CLIENTS = 4
IN_A_SESSION = 5  # messages, so that clients come to every server
PAUSE_SECONDS = 0.05  # of a client between two messages: the machine has more to do


class Post:
    """Clients in threads, through the balancer. Each message is offered once."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.ledger = Ledger()
        self.codes: set[int] = set()
        self._times: list[float] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(120.0)

    def _send(self, number: int) -> None:
        chance = random.Random(number)
        while not self._is_over.is_set():
            try:
                with Client(self.project.port(SMTP), self.ledger) as client:
                    for _ in range(IN_A_SESSION):
                        self._note(client.send(chance.choice(SIZES)))
                        self._is_over.wait(PAUSE_SECONDS)
            except (ClosedError, OSError):
                self._is_over.wait(PAUSE_SECONDS)

    def _note(self, code: int) -> None:
        self.codes.add(code)
        if code == 250:
            self._times.append(time.monotonic())

    def flows(self, count: int = 30, seconds: float = 180.0) -> None:
        """Wait until so many more are acknowledged."""
        before = len(self.ledger.kept)
        eventually(lambda: len(self.ledger.kept) >= before + count, seconds, f"mail ({self.codes})")

    def told(self) -> str:
        """Return what happened, for the report: never judged."""
        times = sorted(self._times)
        gap = max(later - early for early, later in pairwise(times))
        codes = sorted(self.codes - {250}) or "none"
        return f"{len(times)} acknowledged, {gap:.1f} s without one, other replies: {codes}"

    def problems(self, server: str) -> list[str]:
        """Compare the ledger with the store; what was refused may be there as well.

        What is there, and nothing else, is what the server lists.
        """
        found = self.project.found(server)
        problems = compare(self.ledger, Evidence(found), may_refused_stay=True)
        if self.project.shown(server) != [one.id for one in found]:
            problems.append(f"{server} lists something else than the store has")
        return problems


class Watch:
    """Asks every server for /readyz all the time; `fell` are those that said no."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.fell: set[str] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._is_over.set()
        self._thread.join(120.0)

    def _look(self) -> None:
        while not self._is_over.wait(0.2):
            for server in SERVERS:
                if self.project.readiness(server).get("status") == "not ready":
                    self.fell.add(server)


def is_refused(project: Project, port: int) -> bool:
    """Whether a message is answered with 451 within half a minute, and some for a busy machine."""
    ledger = Ledger()
    with Client(project.port(port), ledger, deadline=45.0) as client:
        return client.send() == 451
