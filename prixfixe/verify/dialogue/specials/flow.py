"""Who speaks first, segments, fairness, clients that come and go."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.specials.dialogues import DATA, only
from prixfixe.verify.dialogue.specials.pulse import undisturbed
from prixfixe.verify.dialogue.wire import ClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.dialogue.servers import Server, Target
    from prixfixe.verify.dialogue.wire import Wire

__all__ = [
    "early_talker",
    "few_segments",
    "floods_are_fair",
    "gone_during_commit",
    "greets_first",
    "sigterm",
    "slow_commit",
    "too_many_connections",
]

MOST_CONNECTIONS = 400  # tried before saying that there is no limit
CONNECTION_SECONDS = 30.0  # for all of them: a server may let each wait for one before to end
FLOODS, NOOPS = 8, 40000
# The table's figures, and what PrixFixe itself promises.
MAX_WAIT_SECONDS, MAX_WAIT_SECONDS_HERE = 0.25, 0.05
MAX_SEGMENTS, MAX_SEGMENTS_HERE = 5, 2


def greets_first(target: Target) -> None:
    with target.using("D").connect() as wire:
        greeting = wire.reply()
        assert greeting.startswith(b"220 "), greeting
        assert greeting[4:].split(), "no domain"


def early_talker(target: Target) -> None:
    with target.using("D").connect() as wire:
        wire.send(b"EHLO c.test\r\nQUIT\r\n")
        lines = wire.rest().splitlines()
        codes = [line[:3] for line in lines if line[3:4] == b" "]
        assert codes == [b"220", b"250", b"221"] or codes[-1][:1] in (b"4", b"5"), codes


def few_segments(target: Target) -> None:
    with target.using("D").hello() as wire:
        wire.segments = 0
        assert wire.ask(b"NOOP\r\n" * 50, 50) == [250] * 50
        most = MAX_SEGMENTS_HERE if target.is_strict and target.is_direct else MAX_SEGMENTS
        assert wire.segments <= most, f"{wire.segments} segments"


def _flood(server: Server, started: threading.Barrier) -> None:
    """Send commands as fast as they are taken, reading what comes."""
    with server.hello() as wire:
        wire.socket.setblocking(False)
        left = memoryview(b"NOOP\r\n" * NOOPS)
        replies = 0
        started.wait(30)
        until = time.monotonic() + 60
        while replies < NOOPS and time.monotonic() < until:
            readable, writable, _ = select.select([wire.socket], [wire.socket] * bool(left), [], 5)
            if readable:
                octets = _received(wire)
                if not octets:
                    return  # turned away
                replies += octets.count(b"\n")
            if writable:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    left = left[wire.socket.send(left) :]


def _received(wire: Wire) -> bytes:
    try:
        return wire.socket.recv(1 << 20)
    except ConnectionError:
        return b""


@contextlib.contextmanager
def _floods(server: Server) -> Iterator[list[threading.Thread]]:
    started = threading.Barrier(FLOODS + 1)
    threads = [threading.Thread(target=_flood, args=(server, started)) for _ in range(FLOODS)]
    for thread in threads:
        thread.start()
    started.wait(30)
    yield threads
    for thread in threads:
        thread.join(90)


def floods_are_fair(target: Target) -> None:
    server = target.using("D")
    waits: list[float] = []
    with server.hello() as ninth, _floods(server) as threads:
        while len(waits) < 5 or (any(one.is_alive() for one in threads) and len(waits) < 500):
            before = time.monotonic()
            assert ninth.ask(b"NOOP\r\n") == [250]
            waits.append(time.monotonic() - before)
    # The median of the slowest tenth: one late wake-up of this client proves nothing.
    slow = sorted(waits)[-max(1, len(waits) // 10) :]
    is_ours = target.is_strict and target.is_direct
    most = MAX_WAIT_SECONDS_HERE if is_ours else MAX_WAIT_SECONDS
    assert slow[len(slow) // 2] < most, f"{len(waits)} waits, the slowest: {slow[-5:]}"


def too_many_connections(target: Target) -> None:
    with contextlib.ExitStack() as stack, target.fresh("D") as server:
        until = time.monotonic() + CONNECTION_SECONDS
        for count in range(MOST_CONNECTIONS):
            assert time.monotonic() < until, (
                f"{count} connections accepted in {CONNECTION_SECONDS:.0f} s, and none refused"
            )
            wire = stack.enter_context(server.connect())
            greeting = wire.reply()
            if greeting[:3] != b"220":
                break
        else:
            raise AssertionError(f"{MOST_CONNECTIONS} connections accepted")
        assert greeting[:3] in (b"421", b"554"), greeting
        assert wire.end() in (True, False)


def sigterm(target: Target) -> None:
    with target.fresh("C") as server, server.hello() as wire:
        codes: list[bytes] = []

        def listen() -> None:
            with contextlib.suppress(TimeoutError):  # it neither spoke nor ended
                codes.append(wire.rest()[:3])

        listener = threading.Thread(target=listen)
        listener.start()
        code = server.stop()
        listener.join(30)
        assert codes == [b"421"], codes
        assert code == 0, f"exit code {code}"


@undisturbed(1.0)  # the idle limit is 1.5 s
def slow_commit(target: Target) -> None:
    server = target.using("OW")
    server.clear()
    with server.hello() as wire:
        assert wire.ask(DATA, 3) == [250, 250, 354]
        assert wire.ask(b"x\r\n.\r\n") == [250]
    only(server)


@undisturbed(0.1)  # the commit takes 0.3 s
def gone_during_commit(target: Target) -> None:
    server = target.using("W")
    for is_reset in (False, True):
        server.clear()
        wire = server.hello()
        assert wire.ask(DATA, 3) == [250, 250, 354]
        wire.send(b"x\r\n.\r\n")
        with contextlib.suppress(TimeoutError, ClosedError):
            # 50 ms without an answer: the commit is under way.
            assert not wire.has_more(0.05), "the commit was not slow"
        wire.reset() if is_reset else wire.close()
        found = server.settled(lambda messages: len(messages) == 1)
        # It was not acknowledged, so others may keep none.
        assert len(found) == 1 or (not found and not target.is_strict), f"{len(found)} kept"
        assert all(one.has_body(b"x\r\n") for one in found)
        assert server.is_alive()
