"""Dialogues whose octets are computed or whose course depends on what is offered."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.script import ENVELOPE

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Server, Stored, Target
    from prixfixe.verify.dialogue.wire import Wire

__all__ = [
    "cut_at_the_end_of_data",
    "enhanced_codes",
    "limits_are_per_session",
    "limits_do_not_grow",
    "many_lines",
    "orcpt_as_offered",
    "random_lines",
    "shell_text_is_inert",
    "utf8_as_offered",
]

DATA = ENVELOPE + b"DATA\r\n"
_ENHANCED = re.compile(rb"([245])\.\d{1,3}\.\d{1,3} ")


def send_message(wire: Wire, body: bytes) -> int:
    """Send a stuffed body with its final dot and return the code of the answer."""
    assert wire.ask(DATA, 3) == [250, 250, 354]
    return wire.ask(body + b".\r\n")[0]


def only(server: Server) -> Stored:
    """Return the one message there is."""
    found: list[Stored] = server.settled(lambda messages: len(messages) == 1)
    assert len(found) == 1, f"{len(found)} stored"
    return found[0]


def keywords(wire: Wire) -> dict[bytes, bytes]:
    """Say EHLO and return what is offered, with its values."""
    wire.send(b"EHLO c.test\r\n")
    lines = [line[4:] for line in wire.reply().splitlines()[1:]]
    return {word.upper(): rest for word, _, rest in (line.partition(b" ") for line in lines)}


def random_lines(target: Target) -> None:
    server = target.using("D")
    server.clear()
    source = random.Random(1321)
    octets = bytes(set(range(256)) - {0, 10, 13})  # NUL is a case of its own
    lines = [bytes(source.choices(octets, k=source.randrange(120))) for _ in range(1200)]
    body = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in lines)
    with server.hello() as wire:
        assert send_message(wire, stuffed) == 250
    assert only(server).has_body(body)


def many_lines(target: Target) -> None:
    server = target.using("D")
    server.clear()
    body = b"".join(b"%06d %s\r\n" % (number, b"x" * 66) for number in range(60000))
    with server.hello() as wire:
        assert send_message(wire, body) == 250
    assert only(server).has_body(body)


def cut_at_the_end_of_data(target: Target) -> None:
    server = target.using("D")
    tail = b"x\r\n.\r\n"
    for cut in range(1, len(tail)):
        server.clear()
        with server.hello() as wire:
            assert wire.ask(DATA, 3) == [250, 250, 354]
            wire.send(tail[:cut])
            # Another session's answer: the first segment was read by then.
            assert server.is_alive()
            assert wire.ask(tail[cut:]) == [250]
        assert only(server).has_body(b"x\r\n")


def limits_are_per_session(target: Target) -> None:
    line = b"MAIL FROM:<a@x.test> BODY=8BITMIME" + b" " * 492 + b"\r\n"
    assert len(line) == 528
    server = target.using("D")
    with server.hello() as wire:
        before = wire.ask(line)
        wire.ask(b"RSET\r\n")
        with server.greeted():
            assert wire.ask(line) == before


def limits_do_not_grow(target: Target) -> None:
    line = b"MAIL FROM:<a@x.test>" + b" " * 878 + b"\r\n"
    with target.using("D").hello() as wire:
        before = wire.ask(line)
    with target.using("D").greeted() as wire:
        # Some take no second greeting: then it raises nothing either.
        assert set(wire.ask(b"EHLO c.test\r\n" * 400, 400)) <= {250, 503}
        code = wire.ask(line)[0]
        assert [code] == before, f"900 octets: {before}, then {code}"
        assert code in (500, 501) or not target.is_strict, f"900 octets: {code}"


def orcpt_as_offered(target: Target) -> None:
    with target.using("D").greeted() as wire:
        is_offered = b"DSN" in keywords(wire)
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [250]
        code = wire.ask(b"RCPT TO:<b@y.test> ORCPT=rfc822;b@y.test\r\n")[0]
        assert code == (250 if is_offered else 555), f"offered: {is_offered}, answered: {code}"


def utf8_as_offered(target: Target) -> None:
    with target.using("U").greeted() as wire:
        is_offered = b"SMTPUTF8" in keywords(wire)
        code = wire.ask("MAIL FROM:<é@x.test> SMTPUTF8\r\n".encode())[0]
        assert (code == 250) == is_offered, f"offered: {is_offered}, answered: {code}"
        wire.ask(b"RSET\r\n")
        assert wire.ask("MAIL FROM:<é@x.test>\r\n".encode())[0] // 100 == 5


def shell_text_is_inert(target: Target) -> None:
    server = target.using("D")
    server.clear()
    with server.hello() as wire:
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [250]
        taken = []
        for name in (b";sleep 9;@y.test", b"$(id)@y.test", b"`id`@y.test"):
            code = wire.ask(b"RCPT TO:<%b>\r\n" % name)[0]
            assert code == 250 or code // 100 == 5, f"{name!r}: {code}"
            taken += [name.decode()] * (code == 250)
        assert wire.ask(b"RCPT TO:<b@y.test>\r\n") == [250]
        assert wire.ask(b"DATA\r\n") == [354]
        assert wire.ask(b"x\r\n.\r\n") == [250]
    assert only(server).is_for([*taken, "b@y.test"])


def enhanced_codes(target: Target) -> None:
    commands = (
        b"MAIL FROM:<a@x.test>\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRCPT TO:<>\r\n"
        b"NOOP\r\nVRFY x\r\nEXPN x\r\nFOO\r\nHELP\r\nRSET\r\nDATA\r\nRCPT TO:<b@y.test>\r\n"
        b"MAIL FROM:<a@x.test> FOO=1\r\nMAIL FROM:<a@x.test> SIZE=x\r\nVRFY\r\nQUIT\r\n"
    )
    with target.using("D").hello() as wire:
        for line in commands.splitlines(keepends=True):
            wire.send(line)
            _check_codes(wire.reply())
        _check_message_codes(target)


def _check_message_codes(target: Target) -> None:
    with target.using("D").hello() as wire:
        wire.ask(DATA, 3)
        wire.send(b"x\r\n.\r\n")
        _check_codes(wire.reply())


def _check_codes(reply: bytes) -> None:
    for line in reply.splitlines():
        status = _ENHANCED.match(line[4:])
        assert status is not None, f"no enhanced code: {line!r}"
        assert status[1] == line[:1], f"classes disagree: {line!r}"
