"""What several groups do: say what was expected, make mail that is known again, deliver it."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.outcomes import CaseError
from prixfixe.verify.dialogue.servers import UnseenError
from prixfixe.verify.dialogue.wire import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.dialogue.wire import Wire

__all__ = ["ENVELOPE", "deliver", "expect", "kept_of", "letter", "need_image", "noted", "until"]

ENVELOPE = (b"MAIL FROM:<a@x.test>", b"RCPT TO:<b@y.test>", b"DATA")
MARK = b"X-Verify: "


def expect(is_so: object, why: str) -> None:
    """Raise `CaseError` unless it is so."""
    if not is_so:
        raise CaseError(why)


def need_image(bench: Bench) -> None:
    """Raise `UnseenError` unless the target is an image."""
    if not bench.source.has_image:
        raise UnseenError("only an image can show this")


def letter(bench: Bench, name: str, size: int = 600) -> bytes:
    """Return a message with its name in a header, and lines that nobody made before."""
    lines = [b"Subject: verify", MARK + name.encode(), b"From: a@x.test", b"To: b@y.test", b""]
    left, source = size, random.Random(f"{bench.seed} {name}")
    while left > 0:
        line = source.randbytes(35).hex().encode()
        lines.append(line)
        left -= len(line) + 2
    return b"\r\n".join(lines) + b"\r\n"


def deliver(wire: Wire, body: bytes) -> bytes:
    """Send one message after EHLO, and return the reply to its end."""
    for line in ENVELOPE:
        code = wire.ask(line + b"\r\n")[0]
        expect(code in (250, 354), f"{line.decode()}: {code}")
    wire.send(body + b".\r\n")
    return wire.reply()


def noted(body: bytes) -> str:
    """Return the name of a message that `letter` made, or nothing."""
    found = body.partition(MARK)[2].partition(b"\n")[0]
    return found.strip().decode("latin-1")


def kept_of(found: list[Stored]) -> dict[str, list[bytes]]:
    """Return the bodies of letters by name."""
    kept: dict[str, list[bytes]] = {}
    for one in found:
        if name := noted(one.body):
            kept.setdefault(name, []).append(one.body)
    return kept


def until(is_so: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is so; raise `CaseError` when the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ClosedError):
            if is_so():
                return
        time.sleep(0.1)
    raise CaseError(f"not within {seconds:g} s: {what}")
