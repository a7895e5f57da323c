"""Memory, recipients, errors: what a client must not be able to use up."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.script import ENVELOPE
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.dialogue.specials.dialogues import DATA, keywords, only
from prixfixe.verify.dialogue.wire import ClosedError

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Stored, Target
    from prixfixe.verify.dialogue.wire import Wire

__all__ = [
    "endless_command",
    "endless_line",
    "error_budget",
    "hundred_recipients",
    "many_recipients",
    "nothing_after_quit",
    "nothing_after_the_last_error",
    "tiny_lines",
]

MIB = 2**20
# Room for buffers on the way; far below what is sent.
SMALL_GROWTH = 32 * MIB
DELIVERY_SECONDS = 30.0  # for a copy each of a message to all recipients
SERVED_AT_MOST = 300  # replies after which nobody would call a budget one


def _pour(wire: Wire, octets: bytes, total: int) -> None:
    """Send octets over and over; a server may hang up on that."""
    with contextlib.suppress(OSError):
        for _ in range(total // len(octets)):
            wire.socket.sendall(octets)


def endless_command(target: Target) -> None:
    server = target.using("D")
    with server.growth() as grown, server.hello() as wire:
        _pour(wire, b"x" * MIB, 100 * MIB)
        assert grown() < SMALL_GROWTH, f"grew by {grown() // MIB} MiB"
    assert server.is_alive()


def endless_line(target: Target) -> None:
    server = target.using("Z")
    with server.growth() as grown, server.hello() as wire:
        assert wire.ask(DATA, 3) == [250, 250, 354]
        _pour(wire, b"x" * MIB, 300 * MIB)
        assert grown() < SMALL_GROWTH, f"grew by {grown() // MIB} MiB"
    assert server.is_alive()


def tiny_lines(target: Target) -> None:
    server = target.using("D")
    with server.growth() as grown, server.greeted() as wire:
        offered = keywords(wire)
        if b"SIZE" not in offered:
            raise NotOfferedError("SIZE")
        limit = int(offered[b"SIZE"] or 0) or 32 * MIB
        assert wire.ask(DATA, 3) == [250, 250, 354]
        total = min(limit, 32 * MIB) // MIB * MIB
        _pour(wire, b"\r\n" * (MIB // 2), total)
        assert wire.ask(b".\r\n") == [250]
        # Buffer, body, copy for the store, the store's page cache: a small multiple.
        assert grown() < 6 * total + SMALL_GROWTH, f"grew by {grown() // MIB} MiB"
    server.clear()
    with server.growth() as grown, server.hello() as wire:
        assert wire.ask(DATA, 3) == [250, 250, 354]
        _pour(wire, b"\r\n" * (MIB // 2), 32 * MIB)
        wire.ask(b".\r\n")
        assert grown() < 6 * 32 * MIB + SMALL_GROWTH, f"grew by {grown() // MIB} MiB"
    server.clear()


def _recipients(wire: Wire, count: int, first: int = 0) -> list[int]:
    """Name so many recipients, none of them twice; return the codes of the answers."""
    codes = []
    for start in range(first, first + count, 100):
        names = range(start, min(start + 100, first + count))
        batch = b"".join(b"RCPT TO:<u%d@y.test>\r\n" % number for number in names)
        codes += wire.ask(batch, len(names))
    return codes


def hundred_recipients(target: Target) -> None:
    server = target.using("D")
    server.clear()
    with server.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [250]
        assert set(_recipients(wire, 100)) == {250}
        assert wire.ask(b"DATA\r\n") == [354]
        assert wire.ask(b"x\r\n.\r\n") == [250]
    assert only(server).is_for([f"u{number}@y.test" for number in range(100)])


def many_recipients(target: Target) -> None:
    server = target.using("D")
    server.clear()
    with server.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [250]
        codes: list[int] = []
        while len(codes) < 20000 and 452 not in codes:
            # Few at a time: who goes on much longer after a 452 is shown the door.
            codes += _recipients(wire, 15, len(codes))
        taken = codes.count(250)
        assert 100 <= taken < 20000, f"{taken} of 20000 taken"
        assert codes == [250] * taken + [452] * (len(codes) - taken)
        assert wire.ask(b"DATA\r\n") == [354]
        assert wire.ask(b"x\r\n.\r\n") == [250]

    def recipients(found: list[Stored]) -> int:
        return sum(len(one.recipients) for one in found)

    found = server.settled(lambda all_: recipients(all_) == taken, DELIVERY_SECONDS)
    assert recipients(found) == taken, f"{recipients(found)} of {taken} recipients have it"


def _codes_to_the_end(wire: Wire, octets: bytes) -> list[int]:
    if not wire.takes_batches:
        return _codes_one_by_one(wire, octets)
    wire.send(octets)
    return [int(line[:3]) for line in wire.rest().splitlines() if line[3:4] == b" "]


def _codes_one_by_one(wire: Wire, octets: bytes) -> list[int]:
    codes = []
    with contextlib.suppress(ClosedError):
        for line in octets.splitlines(keepends=True):
            codes += wire.ask(line)
    return codes


def error_budget(target: Target) -> None:
    server = target.using("D")
    for line, count in ((b"FOOB x\r\n", 30), (b"MAIL FROM:<\r\n", 200), (b"\r\n", 1000)):
        with server.hello() as wire:
            # QUIT ends the session of a server that counts nothing.
            codes = _codes_to_the_end(wire, line * count + b"QUIT\r\n")
            assert codes[-1:] == [421], f"{line!r}: {len(codes)} replies, the last {codes[-1:]}"
            assert len(codes) <= count


def nothing_after_the_last_error(target: Target) -> None:
    server = target.using("D")
    before = 0
    with contextlib.suppress(UnseenError):
        before = server.runs("VRFY")
    with server.hello() as wire:
        count = 0
        while count < SERVED_AT_MOST:  # Find the last error with each sent alone.
            wire.send(b"FOOB\r\n")
            count += 1
            if wire.reply()[:3] == b"421" or wire.has_more(0.01):
                break
        if count == SERVED_AT_MOST and not target.is_strict:
            raise UnseenError("no error ends a session")
        assert count < SERVED_AT_MOST, "no budget"
    with server.hello() as wire:
        wire.send(b"FOOB\r\n" * count + b"VRFY postmaster\r\n" + ENVELOPE)
        lines = wire.rest().splitlines()
        assert len(lines) <= count + 1, f"{len(lines)} replies to {count} errors"
        assert not any(line[:3] in (b"250", b"252") for line in lines), lines[-3:]
    with contextlib.suppress(UnseenError):
        assert server.runs("VRFY") == before, "VRFY ran after the end"


def nothing_after_quit(target: Target) -> None:
    server = target.using("D")
    before = server.runs("VRFY")
    with server.hello() as wire:
        wire.send(b"QUIT\r\nVRFY one\r\nVRFY two\r\n")
        assert wire.rest()[:3] == b"221"
    assert server.is_alive()
    assert server.runs("VRFY") == before, "VRFY ran after QUIT"
