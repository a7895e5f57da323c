"""STARTTLS and implicit TLS."""

from __future__ import annotations

import contextlib
import re
import ssl
import warnings
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.script import ENVELOPE
from prixfixe.verify.dialogue.specials.dialogues import DATA, keywords, only
from prixfixe.verify.dialogue.wire import ClosedError, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.dialogue.servers import Server, Target

__all__ = [
    "clear_where_tls_is_due",
    "implicit_tls",
    "injected_commands",
    "injected_in_pieces",
    "mail_in_implicit_tls",
    "much_after_starttls",
    "received_in_tls",
    "starttls",
    "starttls_twice",
    "tls_ends_in_a_chunk",
    "tls_ends_in_data",
    "tls_forgets",
    "tls_versions",
]


def _secure(wire: Wire, context: ssl.SSLContext, octets: bytes = b"STARTTLS\r\n") -> None:
    assert wire.ask(octets) == [220]
    wire.start_tls(context)


@contextlib.contextmanager
def secured(target: Target, config: str) -> Iterator[Wire]:
    """Yield a session in TLS, before its EHLO."""
    with target.using(config).hello() as wire:
        _secure(wire, target.trust())
        yield wire


def starttls(target: Target) -> None:
    server = target.using("T")
    server.clear()
    with server.greeted() as wire:
        assert b"STARTTLS" in keywords(wire)
        _secure(wire, target.trust())
        assert b"STARTTLS" not in keywords(wire)
        assert wire.ask(DATA, 3) == [250, 250, 354]
        assert wire.ask(b"x\r\n.\r\n") == [250]
        assert wire.ask(b"QUIT\r\n") == [221]
    assert only(server).has_body(b"x\r\n")


def tls_forgets(target: Target) -> None:
    with target.using("T").hello() as wire:
        assert wire.ask(ENVELOPE, 2) == [250, 250]
        code = wire.ask(b"STARTTLS\r\n")[0]
        if code // 100 == 5 and not target.is_strict:
            return  # Nothing said in clear comes into TLS.
        assert code == 220
        wire.start_tls(target.trust())
        assert wire.ask(b"DATA\r\n") == [503]
        assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [503]


def injected_commands(target: Target) -> None:
    server = target.using("T")
    server.clear()
    message = b"EHLO evil.test\r\n" + DATA + b"evil\r\n.\r\n"
    for injected in (b"NOOP\r\n", message):
        with server.hello() as wire:
            # A server may also refuse or hang up; it must not run what was glued on.
            wire.send(b"STARTTLS\r\n" + injected)
            if wire.reply()[:3] == b"220":
                with contextlib.suppress(OSError):
                    wire.start_tls(target.trust())
                    assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [503]
                    assert not wire.has_more(0.05), "one reply too many"
    assert server.messages() == []


def much_after_starttls(target: Target) -> None:
    with target.using("T").hello() as wire:
        wire.deadline = 5.0
        wire.send(b"STARTTLS\r\n" + b"x" * 4096)
        if wire.reply()[:3] != b"220":
            return  # refused: as good
        try:
            wire.start_tls(target.trust())
        except TimeoutError as error:
            raise AssertionError("neither handshake nor close within 5 s") from error
        except OSError:
            return  # closed: as good
        assert wire.ask(b"EHLO c.test\r\n") == [250]


def starttls_twice(target: Target) -> None:
    with secured(target, "T") as wire:
        wire.ask(b"EHLO c.test\r\n")
        code = wire.ask(b"STARTTLS\r\n")[0]
        assert code // 100 == 5, f"STARTTLS inside TLS: {code}"
        assert wire.ask(b"NOOP\r\n") == [250]


def _versioned(target: Target, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = target.trust()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    return context


def tls_versions(target: Target) -> None:
    versions = ssl.TLSVersion
    for version in (versions.TLSv1_2, versions.TLSv1_3):
        with target.using("T").hello() as wire:
            _secure(wire, _versioned(target, version))
            assert wire.ask(b"EHLO c.test\r\n") == [250]
    for version in (versions.TLSv1, versions.TLSv1_1):
        with target.using("T").hello() as wire:
            assert wire.ask(b"STARTTLS\r\n") == [220]
            try:
                wire.start_tls(_versioned(target, version))
            except (ssl.SSLError, ConnectionError):
                continue
            raise AssertionError(f"{version.name} accepted")


def clear_where_tls_is_due(target: Target) -> None:
    server = target.using("T")
    server.clear()
    with server.hello() as wire:
        assert wire.ask(b"STARTTLS\r\n") == [220]
        wire.send(b"EHLO c.test\r\n" + DATA + b"evil\r\n.\r\n")
        said = wire.rest()
        # A TLS alert is a record of type 21; a reply would begin with a digit.
        assert said[:1] in (b"", b"\x15"), f"answered {said!r}"
    assert server.settled(bool, 0.1) == []


def implicit_tls(target: Target) -> None:
    server = target.using("I")
    with server.connect(server.tls_port) as wire:
        wire.start_tls(target.trust())
        assert wire.reply()[:3] == b"220"
        assert b"STARTTLS" not in keywords(wire)
        assert wire.ask(b"STARTTLS\r\n")[0] // 100 == 5


def _check_mailed(target: Target, config: str, wire: Wire) -> None:
    server = target.using(config)
    server.clear()
    wire.ask(b"EHLO c.test\r\n")
    assert wire.ask(DATA, 3) == [250, 250, 354]
    assert wire.ask(b"Subject: x\r\n\r\nx\r\n.\r\n") == [250]
    found = only(server)
    assert found.has_body(b"Subject: x\r\n\r\nx\r\n")
    if found.raw is not None:
        assert re.search(rb"\bwith ESMTPS\b", found.raw, re.IGNORECASE), found.raw


def received_in_tls(target: Target) -> None:
    with secured(target, "T") as wire:
        _check_mailed(target, "T", wire)


def mail_in_implicit_tls(target: Target) -> None:
    server = target.using("I")
    with server.connect(server.tls_port) as wire:
        wire.start_tls(target.trust())
        assert wire.reply()[:3] == b"220"
        _check_mailed(target, "I", wire)


def _end_tls(wire: Wire, clear: bytes) -> None:
    """Send close_notify, then octets in clear on the same connection."""
    assert isinstance(wire.socket, ssl.SSLSocket)
    wire.socket.settimeout(5)
    with contextlib.suppress(OSError, ValueError):
        plain = wire.socket.unwrap()
        plain.sendall(clear)
        plain.close()


def _check_nothing_kept(server: Server) -> None:
    assert server.settled(bool, 0.2) == [], "half a message was kept"
    assert server.is_alive()


def tls_ends_in_data(target: Target) -> None:
    server = target.using("T")
    server.clear()
    with secured(target, "T") as wire:
        wire.ask(b"EHLO c.test\r\n")
        assert wire.ask(DATA, 3) == [250, 250, 354]
        wire.send(b"half a message\r\n")
        _end_tls(wire, b".\r\n")
    _check_nothing_kept(server)


def tls_ends_in_a_chunk(target: Target) -> None:
    server = target.using("T")
    server.clear()
    with secured(target, "T") as wire:
        wire.ask(b"EHLO c.test\r\n")
        assert wire.ask(ENVELOPE, 2) == [250, 250]
        wire.send(b"BDAT 20 LAST\r\nhalf\r\n")
        _end_tls(wire, b"other half!!!\r\n")
        with contextlib.suppress(ClosedError, OSError):
            wire.rest()
    _check_nothing_kept(server)


def injected_in_pieces(target: Target) -> None:
    server = target.using("T")
    server.clear()
    message = b"EHLO evil.test\r\n" + DATA + b"evil\r\n.\r\n"
    for octets, cuts in (
        (b"STARTTLS\r\n" + message, (9, 10, 11)),
        (b"EHLO c.test\r\nSTARTTLS\r\nSTARTTLS\r\n" + message, (22, 23, 24, 33)),
        (ENVELOPE + b"STARTTLS\r\nDATA\r\n" + message, (53, 54, 60)),
    ):
        for cut in cuts:
            _inject(target, octets[:cut], octets[cut:])
    assert server.settled(bool, 0.1) == []


def _inject(target: Target, before: bytes, after: bytes) -> None:
    with target.using("T").hello() as wire:
        wire.send(before)
        assert target.using("T").is_alive()  # The first piece was read by then.
        wire.send(after)
        while (code := wire.reply()[:3]) == b"250":
            pass
        if code[:1] in (b"4", b"5"):
            return  # refused: as good
        assert code == b"220", code
        # In a piece of its own the clear text is a broken handshake; glued, it is dropped.
        with contextlib.suppress(OSError, ClosedError):
            wire.start_tls(target.trust())
            assert wire.ask(b"MAIL FROM:<a@x.test>\r\n") == [503]
            assert not wire.has_more(0.05), "one reply too many"
