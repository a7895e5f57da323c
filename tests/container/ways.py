"""The ways to connect: plain, STARTTLS, the TLS port, and both ports behind a PROXY header.

It opens a session in each way, up to the answer to EHLO, and sends mail by DATA or BDAT, so that
one check serves all ways.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from tests.container.talk import RECIPIENT, SENDER, stuffed

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.wire import Wire
    from tests.container.box import Box

__all__ = ["BODIES", "WAYS", "connect", "enter", "environ", "hand_over", "options", "say_mail"]

WAYS = ("plain", "starttls", "smtps", "proxy", "proxy smtps")
BODIES = ("DATA", "BDAT", "BDAT in two")
TLS_PORT = 2465
HEADER = b"PROXY TCP4 203.0.113.7 203.0.113.8 4567 25\r\n"


def environ(way: str, **more: str) -> dict[str, str]:
    """Return the settings of a server that this way leads into."""
    proxied = {"SMTP_PROXY_PROTOCOL": "0.0.0.0/0,::/0"} if way.startswith("proxy") else {}
    return {"SMTP_TLS_CERT": "self-signed", "SMTP_TLS_PORT": str(TLS_PORT), **proxied, **more}


def options(way: str) -> dict[str, Any]:
    """Return how such a server is started; who trusts every proxy greets no other client."""
    return {"ports": (2525, 8025, TLS_PORT), "is_awaited": not way.startswith("proxy")}


def connect(box: Box, way: str) -> Wire:
    """Open a connection up to where the greeting is due."""
    with contextlib.ExitStack() as stack:
        is_tls = way.endswith("smtps")
        wire = stack.enter_context(box.connect(TLS_PORT if is_tls else 2525))
        if way.startswith("proxy"):
            wire.send(HEADER)
        if is_tls:
            wire.start_tls(any_certificate())
        stack.pop_all()
    return wire


def enter(box: Box, way: str) -> Wire:
    """Open a session up to the answer to EHLO."""
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(connect(box, way))
        greeting = wire.reply()
        assert greeting.startswith(b"220 "), greeting
        assert wire.ask(b"EHLO client.test\r\n") == [250]
        if way == "starttls":
            assert wire.ask(b"STARTTLS\r\n") == [220]
            wire.start_tls(any_certificate())
            assert wire.ask(b"EHLO client.test\r\n") == [250]
        stack.pop_all()
    return wire


def say_mail(wire: Wire, recipients: int = 1) -> None:
    """Open a transaction with so many recipients."""
    assert wire.ask(f"MAIL FROM:<{SENDER}>\r\n".encode()) == [250]
    for number in range(recipients):
        assert wire.ask(f"RCPT TO:<{number}{RECIPIENT}>\r\n".encode()) == [250]


def hand_over(wire: Wire, body: bytes, by: str) -> bytes:
    """Send a body by DATA or BDAT, and return the last reply."""
    if by == "DATA":
        reply: bytes
        wire.send(b"DATA\r\n")
        if not (reply := wire.reply()).startswith(b"354 "):
            return reply
        wire.send(stuffed(body))
        return wire.reply()
    half = len(body) // 2 if by == "BDAT in two" else 0
    if half:
        wire.send(b"BDAT %d\r\n" % half + body[:half])
        if not (reply := wire.reply()).startswith(b"250 "):
            return reply
    wire.send(b"BDAT %d LAST\r\n" % (len(body) - half) + body[half:])
    return wire.reply()


def any_certificate() -> ssl.SSLContext:
    """Return a context that asks for no proof: it is the way that is tested here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
