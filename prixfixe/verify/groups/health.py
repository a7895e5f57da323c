"""PF-HLT: healthy means that mail is taken.

The engine judges with the image's own health check, only more often, and one failure is enough.
"""

from __future__ import annotations

import contextlib
import http.client
from functools import partial
from typing import TYPE_CHECKING, Any

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.servers import NotOfferedError
from prixfixe.verify.groups.common import expect, kept_of, need_image, until
from prixfixe.verify.groups.durability import Ledger, filled, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.bench import Bench, Running
    from prixfixe.verify.targets.base import Launch

__all__ = ["cases"]

INTERVAL = 300_000_000  # nanoseconds
SECONDS = 60.0
PROBES = 3


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    rows = (
        (_becomes_healthy, "A server that takes mail becomes healthy.", "must", "health.docker"),
        (_wedged, "A server that stands still becomes unhealthy, and recovers.", "must", "health.unhealthy_when"),
        (_disk_full, "A server that cannot store becomes unhealthy.", "must", "health.unhealthy_when"),
        (_slots_taken, "A server with every connection taken stays healthy.", "must", "promise.max_connections"),
        (_no_harm, "Health checks leave no mail.", "must", "health.docker"),
        (_ready, "Readiness and liveness answer 200 while mail is taken.", "must", "health.ready"),
        (_not_ready, "Readiness says no while nothing can be stored.", "must", "health.ready"),
    )  # fmt: skip
    for number, (check, title, severity, source) in enumerate(rows, 1):
        evidence = "the engine's verdict, and HTTP"
        name = f"PF-HLT-{number:02}"
        yield Case(name, title, severity, f"contract {source}", evidence, check, "full")


def _promise(bench: Bench) -> None:
    need_image(bench)
    if not bench.promised("health", "docker"):
        raise NotOfferedError("the contract promises no health check (health.docker)")
    if not bench.source.config.get("Healthcheck"):  # type: ignore[attr-defined] # of an image
        expect(False, "the image has no HEALTHCHECK")


def _launch(bench: Bench, *names: str) -> Launch:
    return bench.launch(list(names)).having(healthcheck={"interval": INTERVAL, "retries": 1})


def _health(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = running.machine.facts()["State"].get("Health", {})
    return found


def _await(running: Running, status: str) -> None:
    try:
        until(lambda: _health(running).get("Status") == status, SECONDS, f"health is {status}")
    finally:
        told = [f"{one['ExitCode']}: {one['Output']}" for one in _health(running).get("Log", ())]
        running.bench.note("health", "\n".join(told[-3:]))


@contextlib.contextmanager
def _healthy(bench: Bench, launch: Launch | None = None) -> Iterator[Running]:
    _promise(bench)
    with bench.one(launch or _launch(bench)) as running:
        _await(running, "healthy")
        yield running


def _becomes_healthy(bench: Bench) -> None:
    with _healthy(bench) as running:
        expect(running.is_alive(), "it is called healthy and takes no client")


def _unhealthy_when(bench: Bench, state: str) -> None:
    if state not in bench.promised("health", "unhealthy_when"):
        raise NotOfferedError(
            f"the contract does not promise it ({state} in health.unhealthy_when)"
        )


def _wedged(bench: Bench) -> None:
    _unhealthy_when(bench, "wedged")
    with _healthy(bench) as running:
        running.machine.signal("SIGSTOP")
        try:
            _await(running, "unhealthy")
        finally:
            running.machine.signal("SIGCONT")
        _await(running, "healthy")


def _small_disk(bench: Bench) -> Launch:
    size, path = bench.promised("promise", "full_disk"), bench.promised("target", "volume")
    return _launch(bench, "small-disk").having(tmpfs={path: small_disk(bench, size)})


def _fill(bench: Bench, running: Running) -> None:
    ledger = Ledger()
    until(lambda: filled(bench, running, ledger), 90, "a refusal, with a full disk")


def _disk_full(bench: Bench) -> None:
    _unhealthy_when(bench, "disk_full")
    with _healthy(bench, _small_disk(bench)) as running:
        _fill(bench, running)
        _await(running, "unhealthy")


def _slots_taken(bench: Bench) -> None:
    most = int(bench.promised("promise", "max_connections"))
    with _healthy(bench) as running, contextlib.ExitStack() as stack:
        for _ in range(most):
            stack.enter_context(running.connect()).reply()
        _check_stays(running)


def _check_stays(running: Running) -> None:
    """Wait for some checks that began now, all of them good."""
    since = _health(running)["Log"][-1]["End"]

    def new() -> list[dict[str, Any]]:
        log: list[dict[str, Any]] = _health(running)["Log"]
        return [one for one in log if one["Start"] > since]

    until(lambda: len(new()) >= PROBES, SECONDS, f"{PROBES} more health checks")
    bad = [one["Output"] for one in new() if one["ExitCode"]]
    expect(not bad, f"health checks failed: {bad}")


def _no_harm(bench: Bench) -> None:
    with _healthy(bench) as running:
        running.mailbox.messages()
        _check_stays(running)
        found = running.mailbox.messages()
        expect(not found, f"health checks left {len(found)} messages: {list(kept_of(found))}")


def _status(running: Running, name: str) -> int:
    """Return the status of an answer; 0 when there is none."""
    port, _, path = str(running.bench.promised("health", name)).removeprefix("http:").partition("/")
    host, at = running.machine.address(int(port))
    connection = http.client.HTTPConnection(host, at, timeout=10)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", f"/{path}")
        return connection.getresponse().status
    return 0


def _ready(bench: Bench) -> None:
    bench.promised("health", "ready")
    running: Any = bench.target.using("D")
    for name in ("ready", "live"):
        if bench.contract.get("health", name):
            until(partial(_answers, running, name), 20, f"{name} answers 200")


def _answers(running: Running, name: str) -> bool:
    return _status(running, name) == 200


def _not_ready(bench: Bench) -> None:
    bench.promised("health", "ready")
    need_image(bench)
    with bench.one(_small_disk(bench)) as running:
        until(lambda: _status(running, "ready") == 200, 20, "ready answers 200")
        _fill(bench, running)
        until(lambda: _status(running, "ready") not in (0, 200), 20, "ready answers no")
