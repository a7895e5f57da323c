"""PF-SEC: honest clients are served while others misbehave."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.groups.api import guarded
from prixfixe.verify.groups.common import ENVELOPE, deliver, expect, letter, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.verify.bench import Bench, Running
    from prixfixe.verify.dialogue.servers import Server
    from prixfixe.verify.dialogue.wire import Wire

__all__ = ["cases"]

CROWD = 40
SERVED_SECONDS = 15.0
GROWTH = 128 << 20
REQUIRED = "auth-required"


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    rows = (
        (_slow_commands, "Slow clients, a byte at a time, keep nobody out.", "must", "CWE-400"),
        (_slow_bodies, "Clients that stop in the middle of a message keep nobody out.", "must", "CWE-400"),
        (_churn, "Clients that come and go at once keep nobody out.", "must", "CWE-400"),
        (_errors, "Clients that send garbage keep nobody out.", "must", "CWE-400"),
        (_big_bodies, "Many large messages at once take a bounded memory.", "should", "CWE-770"),
        (_relay_text, "Replies carry no text of the server's insides.", "should", "CWE-209"),
        (_login_first, "Where a login is required, mail without one is refused.", "must", "RFC 4954 6"),
        (guarded, "What the API guards asks for the token.", "must", "contract health.guarded"),
    )  # fmt: skip
    for number, (check, title, severity, source) in enumerate(rows, 1):
        evidence = "an honest client beside the others"
        yield Case(f"PF-SEC-{number:02}", title, severity, source, evidence, check, "full")


@contextlib.contextmanager
def _own(bench: Bench) -> Iterator[Running]:
    if not bench.source.can_start:
        raise UnseenError("a crowd is sent only to servers that are started for it")
    with bench.one() as running:
        yield running


def _check_served(bench: Bench, server: Server) -> None:
    """Deliver a message as an honest client, in time."""
    start = time.monotonic()

    def is_served() -> bool:
        with server.hello() as wire:
            return deliver(wire, letter(bench, "honest"))[:3] == b"250"

    until(is_served, SERVED_SECONDS, "an honest client delivers a message")
    bench.note("honest client", f"served after {time.monotonic() - start:.2f} s")


def _crowd(bench: Bench, act: Callable[[Wire], None]) -> None:
    with _own(bench) as running, contextlib.ExitStack() as stack:
        for _ in range(CROWD):
            with contextlib.suppress(OSError, ClosedError):
                wire = stack.enter_context(running.greeted())
                wire.note = None
                act(wire)
        _check_served(bench, running)


def _slow_commands(bench: Bench) -> None:
    _crowd(bench, lambda wire: wire.send(b"EHL"))


def _in_data(wire: Wire) -> None:
    for line in (b"EHLO c.test", *ENVELOPE):
        wire.ask(line + b"\r\n")
    wire.send(b"Subject: never ends\r\n\r\nx")


def _slow_bodies(bench: Bench) -> None:
    _crowd(bench, _in_data)


def _churn(bench: Bench) -> None:
    with _own(bench) as running:
        for number in range(200):
            with contextlib.suppress(OSError), running.connect() as wire:
                wire.note = None
                if number % 2:
                    wire.reset()
        _check_served(bench, running)


def _errors(bench: Bench) -> None:
    garbage = bytes(range(256)).replace(b"\n", b"") + b"\r\n"
    _crowd(bench, lambda wire: wire.send(garbage * 50))


def _big_bodies(bench: Bench) -> None:
    line = b"x" * 998 + b"\r\n"
    with _own(bench) as running, contextlib.ExitStack() as stack:
        with running.growth() as grown:
            for _ in range(20):
                with contextlib.suppress(OSError, ClosedError):
                    wire = stack.enter_context(running.greeted())
                    wire.note = None
                    _in_data(wire)
                    wire.socket.settimeout(0.5)  # a server that takes no more is as good
                    wire.socket.sendall(line * 8000)
            risen = grown()
        expect(running.machine.is_running(), "it ended")
        expect(risen < GROWTH, f"memory rose by {risen >> 20} MiB for 160 MB of messages")


def _login_first(bench: Bench) -> None:
    if not bench.can_be([REQUIRED]):
        raise NotOfferedError(f"the contract has no configuration {REQUIRED}")
    with bench.one(bench.launch([REQUIRED])) as running, running.hello() as wire:
        code = wire.ask(ENVELOPE[0] + b"\r\n")[0]
        if code == 250:  # some refuse at the recipient
            code = wire.ask(ENVELOPE[1] + b"\r\n")[0]
        expect(code // 100 == 5, f"mail without a login is answered {code}")


def _relay_text(bench: Bench) -> None:
    lines = (
        b"MAIL FROM:<",
        b"RCPT TO:<\xff\xfe>",
        b"DATA x",
        b"EHLO \x00",
        b"AUTH PLAIN !",
        b"VRFY %n",
    )
    with bench.target.using("D").hello() as wire:
        for line in lines:
            with contextlib.suppress(ClosedError):
                wire.send(line + b"\r\n")
                reply = wire.reply()
                signs = (b"Traceback", b"Exception", b"Error(", b"/usr/", b"/var/", b" at 0x")
                found = [one for one in signs if one in reply]
                expect(not found, f"{line!r} is answered {reply!r}")
