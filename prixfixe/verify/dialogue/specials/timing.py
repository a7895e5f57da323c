"""The idle limit of configuration O: 1.5 seconds."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.script import ENVELOPE
from prixfixe.verify.dialogue.specials.dialogues import DATA, only
from prixfixe.verify.dialogue.specials.pulse import undisturbed

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Target
    from prixfixe.verify.dialogue.wire import Wire

__all__ = ["dripping", "idle", "never_reads", "slow_but_steady", "slow_but_steady_chunk"]

READERS = 20
WINDOW = 4096  # so that it takes little to stop a server that writes to one who never reads
GONE_SECONDS = 1.5 + 10.0  # after the first octet; the flood itself is among them
LATE_SECONDS = 15.0
STALL_SECONDS = 1.0  # of this client; the servers wait for 1.5 to 2


@undisturbed(STALL_SECONDS)
def idle(target: Target) -> None:
    with target.using("O").hello() as wire:
        said = wire.rest()
        assert said[:4] == b"421 ", f"closed with {said!r}"


@undisturbed(STALL_SECONDS)
def dripping(target: Target) -> None:
    with target.using("O").hello() as wire:
        until = time.monotonic() + LATE_SECONDS
        while not wire.has_more(0.2):
            assert time.monotonic() < until, "still open"
            wire.send(b"x")
        wire.rest()


@undisturbed(STALL_SECONDS)
def slow_but_steady(target: Target) -> None:
    server = target.using("O")
    server.clear()
    with server.hello() as wire:
        assert wire.ask(DATA, 3) == [250, 250, 354]
        for _ in range(12):  # 3 seconds, twice the limit
            assert not wire.has_more(0.25), wire.rest()
            wire.send(b"a line\r\n")
        assert wire.ask(b".\r\n") == [250]
    assert only(server).has_body(b"a line\r\n" * 12)


@undisturbed(STALL_SECONDS)
def slow_but_steady_chunk(target: Target) -> None:
    server = target.using("O")
    server.clear()
    with server.hello() as wire:
        assert wire.ask(ENVELOPE, 2) == [250, 250]
        wire.send(b"BDAT 78 LAST\r\nSubject: x\r\n\r\n")
        for _ in range(8):  # 2 seconds, more than the limit
            assert not wire.has_more(0.25), wire.rest()
            wire.send(b"a line\r\n")
        assert wire.replies(1) == [250]
    assert only(server).has_body(b"Subject: x\r\n\r\n" + b"a line\r\n" * 8)


@undisturbed(STALL_SECONDS)
def never_reads(target: Target) -> None:
    server = target.using("O")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(server.hello(WINDOW)) for _ in range(READERS)]
        flood = b"HELP\r\n" * 20000
        for wire in wires:
            wire.socket.setblocking(False)
        until = time.monotonic() + GONE_SECONDS
        open_ = list(wires)
        held = _held(target, open_)
        assert held >= READERS, f"{held} sessions of {READERS} clients"
        while held and time.monotonic() < until:
            open_ = [wire for wire in open_ if _is_open(wire.socket, flood)]
            held = _held(target, open_)
            time.sleep(0.05)
        assert not held, f"{held} of {READERS} still held after {GONE_SECONDS} s"


def _held(target: Target, open_: list[Wire]) -> int:
    """Return how many sessions are left; a proxy between keeps a client's side on its own."""
    return len(open_) if target.is_direct else target.using("O").sessions()


def _is_open(sock: object, flood: bytes) -> bool:
    """Send what goes without waiting; a reset tells that the server let go."""
    try:
        for _ in range(20):
            sock.send(flood)  # type: ignore[attr-defined]
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
