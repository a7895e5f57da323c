"""What several groups do: say what was expected, make mail that is known again, deliver it."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prixfixe.verify import tree as trees
from prixfixe.verify.dialogue.outcomes import CaseError
from prixfixe.verify.dialogue.servers import UnseenError
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.interrupts import pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.dialogue.servers import Stored
    from prixfixe.verify.dialogue.wire import Wire
    from prixfixe.verify.tree import Layer, Tree

__all__ = [
    "ENVELOPE",
    "deliver",
    "expect",
    "host_file",
    "kept_of",
    "layers_of",
    "letter",
    "listening",
    "need_image",
    "none_of",
    "noted",
    "tree_of",
    "until",
]

ENVELOPE = (b"MAIL FROM:<a@x.test>", b"RCPT TO:<b@y.test>", b"DATA")
MARK = b"X-Verify: "
SHOWN = 10


def expect(is_so: object, why: str) -> None:
    """Raise `CaseError` unless it is so."""
    if not is_so:
        raise CaseError(why)


def need_image(bench: Bench) -> None:
    """Raise `UnseenError` unless the target is an image."""
    if not bench.source.has_image:
        raise UnseenError("only an image can show this")


def tree_of(bench: Bench) -> Tree:
    """Return the image's tree."""
    return bench.once("tree", lambda: trees.tree_in(bench.source.tree()))  # type: ignore[attr-defined, no-any-return]


def layers_of(bench: Bench) -> list[Layer]:
    """Return the image's layers."""
    return bench.once("layers", lambda: trees.layers_in(bench.source.layers()))  # type: ignore[attr-defined, no-any-return]


def none_of(found: list[str], what: str) -> None:
    """Raise `CaseError` with what was found, if anything was."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    expect(not found, f"{what}: {', '.join(sorted(found)[:SHOWN])}{more}")


def host_file(running: Any, name: str) -> str:  # noqa: ANN401 - a server that was started
    """Return a file of the first process's folder in /proc, where the engine is this machine's."""
    pid = running.machine.facts()["State"]["Pid"]
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii")
    except OSError as error:
        msg = f"/proc/{pid} of the container cannot be read here: {error.strerror}"
        raise UnseenError(msg) from error


def listening(text: str) -> set[tuple[str, int]]:
    """Return address and port of each listener in what /proc/PID/net/tcp says."""
    rows = [line.split() for line in text.splitlines()]
    pairs = [row[1].partition(":") for row in rows if len(row) > 3 and row[3] == "0A"]
    return {(address, int(port, 16)) for address, _, port in pairs}


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
        pause(0.1)
    raise CaseError(f"not within {seconds:g} s: {what}")
