"""PF-LIM: the limits that are promised hold, and what is within them is taken."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.dialogue.specials.dialogues import keywords
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.groups.common import ENVELOPE, deliver, expect, kept_of, letter, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.dialogue.wire import Wire

__all__ = ["cases"]

PIECE = 1 << 16


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    rows = (
        (_advertised, "The size that is promised is advertised.", "must", "RFC 1870 4", "smoke"),
        (_declared, "A size beyond the limit is refused when it is declared.", "must", "RFC 1870 6.1", "smoke"),
        (_undeclared, "A message beyond the limit is refused, and the server goes on.", "must", "RFC 1870 6.3", "full"),
        (_at_limit, "A message up to the limit is stored whole.", "must", "RFC 1870 6", "full"),
        (_recipients, "As many recipients as promised are taken, and one more is deferred.", "must", "RFC 5321 4.5.3.1.10", "full"),
        (_connections, "As many connections as promised are served, one more is told, and a freed place is used.", "must", "RFC 5321 3.8", "full"),
        (_recipients_in_tls, "The port of implicit TLS has the same limit of recipients.", "must", "RFC 5321 4.5.3.1.10", "full"),
    )  # fmt: skip
    for number, (check, title, severity, source, level) in enumerate(rows, 1):
        yield Case(
            f"PF-LIM-{number:02}",
            title,
            severity,
            source,
            "transcript",
            check,
            level,
            track="limits",
        )


def _limit(bench: Bench) -> int:
    return int(bench.promised("promise", "max_message_bytes"))


def _advertised(bench: Bench) -> None:
    limit = _limit(bench)
    with bench.target.using("D").greeted() as wire:
        size = keywords(wire).get(b"SIZE")
    expect(size == b"%d" % limit, f"SIZE {(size or b'is not offered').decode()}, not {limit}")


def _declared(bench: Bench) -> None:
    limit = _limit(bench)
    with bench.target.using("D").hello() as wire:
        code = wire.ask(b"MAIL FROM:<a@x.test> SIZE=%d\r\n" % (limit * 2))[0]
        expect(code == 552, f"SIZE={limit * 2} is answered {code}")
        wire.ask(b"RSET\r\n")
        code = wire.ask(b"MAIL FROM:<a@x.test> SIZE=%d\r\n" % limit)[0]
        expect(code == 250, f"SIZE={limit} is answered {code}")


def _send(wire: Wire, size: int) -> bytes:
    """Send a body of about so many bytes, and return the answer."""
    wire.note = None
    wire.deadline = 60.0
    line = b"x" * 76 + b"\r\n"
    piece = line * (PIECE // len(line))
    with contextlib.suppress(ConnectionError):
        wire.socket.settimeout(60)
        for _ in range(size // len(piece)):
            wire.socket.sendall(piece)
        wire.socket.sendall(b".\r\n")
    return wire.reply()


def _undeclared(bench: Bench) -> None:
    limit = _limit(bench)
    server = bench.target.using("D")
    with server.hello() as wire:
        for line in ENVELOPE:
            wire.ask(line + b"\r\n")
        try:
            answer = _send(wire, limit + limit // 4 + 2 * PIECE)
            expect(answer[:3] in (b"552", b"554", b"421"), f"it is answered {answer!r}")
        except ClosedError:
            bench.note("end", "the connection was closed without an answer")
    expect(server.is_alive(), "no new client is served")


def _at_limit(bench: Bench) -> None:
    limit = _limit(bench)
    server = bench.target.using("D")
    server.clear()
    body = letter(bench, "limit", limit - 2000)
    expect(len(body) <= limit, "the letter is too large")
    with server.hello() as wire:
        wire.note, wire.deadline = None, 60.0
        answer = deliver(wire, body)
        expect(answer[:3] == b"250", f"{len(body)} bytes are answered {answer!r}")
    until(lambda: kept_of(server.messages()).get("limit"), 30, "the message is there")
    found = kept_of(server.messages())["limit"]
    server.clear()
    expect(found == [body], f"{len(body)} bytes sent, {[len(one) for one in found]} kept")


def _recipients(bench: Bench) -> None:
    most = int(bench.promised("promise", "max_recipients"))
    with bench.target.using("D").hello() as wire:
        _check_recipients(wire, most)


def _check_recipients(wire: Wire, most: int) -> None:
    wire.note = None
    expect(wire.ask(ENVELOPE[0] + b"\r\n") == [250], "MAIL is not taken")
    for number in range(most):
        code = wire.ask(b"RCPT TO:<u%d@y.test>\r\n" % number)[0]
        expect(code == 250, f"recipient {number + 1} of {most} is answered {code}")
    code = wire.ask(b"RCPT TO:<more@y.test>\r\n")[0]
    expect(code // 100 in (4, 5), f"recipient {most + 1} is answered {code}")
    wire.ask(b"RSET\r\n")


def _recipients_in_tls(bench: Bench) -> None:
    most = int(bench.promised("promise", "max_recipients"))
    server = bench.target.using("I")
    if server.tls_port is None:
        raise NotOfferedError("the contract names no port of implicit TLS (target.smtps_port)")
    with server.connect(server.tls_port) as wire:
        wire.start_tls(bench.target.trust())
        wire.reply()
        wire.ask(b"EHLO c.test\r\n")
        _check_recipients(wire, most)


def _connections(bench: Bench) -> None:
    most = int(bench.promised("promise", "max_connections"))
    if not bench.source.can_start:
        raise UnseenError("other clients of this server would be turned away")
    if most > 900:
        raise NotOfferedError("more connections than are opened here")
    with bench.one() as running, contextlib.ExitStack() as stack:
        wires = []
        for number in range(most):
            wire = stack.enter_context(running.connect())
            wire.note = None
            answer = wire.reply()
            expect(answer[:3] == b"220", f"connection {number + 1} of {most}: {answer!r}")
            wires.append(wire)
        with running.connect() as late:
            answer = late.reply()
            expect(answer[:3] in (b"421", b"554"), f"connection {most + 1}: {answer!r}")
        wires[0].ask(b"QUIT\r\n")
        wires[0].close()
        until(running.is_alive, 20, "a freed place is used")
