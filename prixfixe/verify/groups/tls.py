"""PF-TLS: what is spoken where TLS is offered; conversations in TLS are in PF-SMTP."""

from __future__ import annotations

import ssl
import warnings
from typing import TYPE_CHECKING

from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.outcomes import CaseError
from prixfixe.verify.dialogue.servers import NotOfferedError
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.groups.common import expect, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.dialogue.servers import Server

__all__ = ["cases"]

WEAK = "eNULL:RC4:3DES:MD5:EXPORT:@SECLEVEL=0"


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    rows = (
        (_old, "TLS 1.0 and 1.1 are refused.", "should", "RFC 8996"),
        (_new, "TLS 1.2 or 1.3 is spoken.", "must", "RFC 8314 4.1"),
        (_newest, "TLS 1.3 is spoken.", "should", "RFC 9325 3.1.1"),
        (_weak, "No cipher without secrecy is taken.", "must", "RFC 9325 4.1"),
        (_renewed, "A certificate that is renewed is served without a restart.", "should", "contract promise.renews_within"),
    )  # fmt: skip
    for number, (check, title, severity, source) in enumerate(rows, 1):
        yield Case(
            f"PF-TLS-{number:02}",
            title,
            severity,
            source,
            "handshakes after STARTTLS",
            check,
            "full",
            track="tls",
        )


def _context(*versions: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = versions[0], versions[-1]
    return context


def _spoken(bench: Bench, context: ssl.SSLContext) -> str:
    """Return the version that a handshake agrees on, or nothing."""
    server = bench.target.using("T")
    if "STARTTLS" not in server.keywords():
        raise NotOfferedError("STARTTLS")
    with server.hello() as wire:
        expect(wire.ask(b"STARTTLS\r\n") == [220], "STARTTLS is offered and refused")
        try:
            wire.start_tls(context)
        except (OSError, ClosedError):
            return ""
        return str(wire.socket.version())  # type: ignore[attr-defined]


def _old(bench: Bench) -> None:
    context = _context(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    version = _spoken(bench, context)
    expect(not version, f"{version} is spoken")


def _new(bench: Bench) -> None:
    context = _context(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    expect(_spoken(bench, context), "no handshake with TLS 1.2 or 1.3")


def _newest(bench: Bench) -> None:
    context = _context(ssl.TLSVersion.TLSv1_3)
    expect(_spoken(bench, context), "no handshake with TLS 1.3")


def _weak(bench: Bench) -> None:
    context = _context(ssl.TLSVersion.TLSv1_2)
    try:
        context.set_ciphers(WEAK)
    except ssl.SSLError as error:
        raise CaseError("this machine's OpenSSL has no weak cipher to try") from error
    version = _spoken(bench, context)
    expect(not version, "a weak cipher is taken")


def _renewed(bench: Bench) -> None:
    seconds = float(bench.promised("promise", "renews_within"))
    if not bench.can_be(["starttls"]):
        raise NotOfferedError("the contract has no configuration starttls")
    with bench.one(bench.launch(["starttls"])) as running:
        before = _certificate(running)
        bench.target.renew()
        until(lambda: _certificate(running) != before, seconds, "the new certificate is served")


def _certificate(server: Server) -> bytes:
    with server.hello() as wire:
        expect(wire.ask(b"STARTTLS\r\n") == [220], "STARTTLS is refused")
        wire.start_tls(_context(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
        found: bytes = wire.socket.getpeercert(binary_form=True)  # type: ignore[attr-defined] # in TLS
        return found
