"""PF-OBS and PF-SEC, what HTTP says beside the mailbox: counters, waiting, who may ask."""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING, Any

from prixfixe.verify.dialogue.servers import NotOfferedError
from prixfixe.verify.groups.common import deliver, expect, letter, until

if TYPE_CHECKING:
    from prixfixe.verify.bench import Bench

__all__ = ["counted", "guarded", "waited"]

MESSAGES = 3
WAIT_SECONDS = 20.0
SUBJECT = "waited-for"


def asked(running: Any, method: str, url: str) -> tuple[int, bytes]:  # noqa: ANN401 - a server
    """Return status and body of an answer to `http:PORT/PATH`; 0 when there is none."""
    port, _, path = url.removeprefix("http:").partition("/")
    host, at = running.machine.address(int(port))
    connection = http.client.HTTPConnection(host, at, timeout=WAIT_SECONDS)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request(method, f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    return 0, b""


def counted(bench: Bench) -> None:
    """Check that the counter of accepted messages rises by one a message."""
    name = str(bench.promised("health", "accepted"))
    running: Any = bench.target.using("D")
    before = running.metric(name)
    with running.hello() as wire:
        for number in range(MESSAGES):
            expect(deliver(wire, letter(bench, f"counted{number}"))[:3] == b"250", "not taken")
    wanted = before + MESSAGES
    until(lambda: running.metric(name) >= wanted, WAIT_SECONDS, f"{name} rises by {MESSAGES}")
    found = running.metric(name)
    expect(found == wanted, f"{name} rose by {found - before:g} for {MESSAGES} messages")


def waited(bench: Bench) -> None:
    """Check that who waits by HTTP is told of a message that comes then."""
    url = str(bench.promised("health", "wait"))
    running: Any = bench.target.using("D")
    port, _, path = url.removeprefix("http:").partition("/")
    host, at = running.machine.address(int(port))
    connection = http.client.HTTPConnection(host, at, timeout=WAIT_SECONDS)
    with contextlib.closing(connection), running.hello() as wire:
        connection.request("GET", f"/{path.replace('{subject}', SUBJECT)}")
        asked(
            running, "GET", url.replace("{subject}", "another").replace("timeout=10", "timeout=0")
        )
        body = letter(bench, "waited").replace(b"Subject: verify", f"Subject: {SUBJECT}".encode())
        expect(deliver(wire, body)[:3] == b"250", "a message is not taken")
        try:
            answer = connection.getresponse()
            status, told = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            status, told = 0, repr(error).encode()
    expect(status == 200 and SUBJECT.encode() in told, f"answered {status}: {told[:200]!r}")


def guarded(bench: Bench) -> None:
    """Check that each named method and path is refused to who has no token."""
    rows = bench.promised("health", "guarded")
    if not bench.can_be(["token"]):
        raise NotOfferedError("the contract has no configuration token")
    with bench.one(bench.launch(["token"])) as running:
        for row in rows:
            method, _, url = str(row).partition(" ")
            status, _ = asked(running, method, url)
            expect(status in (401, 403), f"{row} without a token is answered {status}")
