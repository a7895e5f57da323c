"""The fuzz targets `address`, `parameters`, `proxy` and `session`, and the invariants of each.

A target takes bytes and gives the same result for the same bytes. A broken invariant is an
AssertionError that names it.

The first byte of an input of `session` chooses what the server offers, and the second says how many
bytes come in a segment (0: all at once); the rest is sent.
"""

from __future__ import annotations

import functools
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from prixfixe.mail.message import Envelope, Message, render, trace_headers
from prixfixe.server.app import offer_of
from prixfixe.settings import load
from prixfixe.smtp.proxy_header import ProxyError, header_client, header_octets
from prixfixe.smtp.scram import Keys
from prixfixe.smtp.session import Mode
from tests.support.parser_oracle import CONTROL, judge_parameters, judge_path
from tests.support.session_driver import BASE, Talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.smtp.offer import Offer

__all__ = ["TARGETS", "address", "parameters", "proxy", "session"]

MAX_REPLY_OCTETS = 512  # RFC 5321 4.5.3.1.5
AUTH = {"SMTP_AUTH": "any", "SMTP_AUTH_INSECURE": "true"}
TLS = {"SMTP_TLS_CERT": "self-signed"}
OFFERS: tuple[dict[str, str], ...] = (
    {},
    {**AUTH, **TLS, "SMTP_MAX_MESSAGE_SIZE": "1024", "SMTP_MAX_RECIPIENTS": "2"},
    {**TLS, "SMTP_TLS": "required"},
    {**AUTH, "SMTP_STRICT": "true", "SMTP_MAX_ERRORS": "3", "SMTP_RECIPIENTS": "@y.test"},
    {**AUTH, "SMTP_AUTH": "required", "SMTP_AUTH_USERS": "/x"},  # whose users have keys for SCRAM
)
KEYS = Keys(4096, b"16 octets of it.", b"\1" * 32, b"\2" * 32)
_REPLY = re.compile(rb"(?:\d{3}-[\t -~]*\r\n)*\d{3} [\t -~]*\r\n")
# A body in a file begins where these end, whatever a client called itself.
_TRACE = re.compile(rb"Return-Path: <[^\r\n]*>\r\nReceived: from [^\r\n]+\r\n(?:\t[^\r\n]+\r\n)+")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def address(octets: bytes) -> None:
    """A path is refused, or its mailbox is what was sent."""
    judge_path(_text(octets))


def parameters(octets: bytes) -> None:
    """Parameters are refused, or what is recorded is what was sent."""
    judge_parameters(_text(octets))


def proxy(octets: bytes) -> None:
    """A PROXY header is refused, or names nobody or a client as it would name itself."""
    try:
        size = header_octets(octets)
        if size is None:
            return  # More is waited for.
        assert size <= len(octets), "a header of octets that are not there"
        octets = octets[:size]
        client = header_client(octets)
    except ProxyError:
        return
    assert not octets.startswith(b"PROXY") or octets.endswith(b"\r\n"), "a line without its end"
    if client is not None:
        host, port = client
        address = ip_address(host)
        assert 0 <= port <= 0xFFFF, "no port"
        assert str(address) == host, "not the address as it is written"
        assert getattr(address, "ipv4_mapped", None) is None, "an IPv4 client in IPv6's clothes"


@functools.cache
def _terms(offer: int) -> Offer:
    return offer_of(load({**BASE, **OFFERS[offer]}))


def session(octets: bytes) -> None:
    """Whatever is sent, however it is cut: every reply is one, and what is kept is sound."""
    offer, size, sent = octets[:1], octets[1:2], octets[2:]
    number = ord(offer or b"\0") % len(OFFERS)
    talk = Talk(offer=_terms(number))
    if "SMTP_AUTH_USERS" in OFFERS[number]:
        talk.world.offer_scram(lambda _user: KEYS)
    step = ord(size or b"\0") or len(sent) or 1
    said = b"".join(_send(talk, sent[at : at + step]) for at in range(0, len(sent), step))
    _check_replies(said)
    assert len(said) <= 700 * (sent.count(b"\n") + sent.count(b"\r") + 2), "more said than asked"
    for number, (envelope, body) in enumerate(talk.world.kept):
        _check_kept(Message(f"id{number}", 1.5, envelope, body))
    if talk.session.mode is Mode.CLOSED:
        assert _send(talk, b"NOOP\r\n") == b"", "alive after the end"
        assert talk.world.reserved == 0, "memory is still held"


def _send(talk: Talk, octets: bytes) -> bytes:
    talk.session.receive(octets)
    talk.work()
    output = talk.session.output
    said = b"".join(output)
    output.clear()
    return said


def _check_replies(said: bytes) -> None:
    at = 0
    while at < len(said):
        reply = _REPLY.match(said, at)
        assert reply is not None, f"not a reply: {said[at : at + 200]!r}"
        at = reply.end()
        lines = reply.group().split(b"\r\n")[:-1]
        assert all(len(line) + 2 <= MAX_REPLY_OCTETS for line in lines), "a reply line too long"
        assert len({line[:3] for line in lines}) == 1, "codes differ within a reply"


def _check_kept(message: Message) -> None:
    envelope = message.envelope
    assert not set(message.body.replace(b"\r\n", b"")) & {10, 13}, "a lone CR or LF was kept"
    assert envelope.recipients, "kept for nobody"
    for mailbox in (envelope.sender, *(one.address for one in envelope.recipients)):
        assert not CONTROL.search(mailbox), "a control character in the envelope"
    assert Envelope.from_json(envelope.to_json()) == envelope, "not the same read back"
    assert _TRACE.fullmatch(trace_headers(message)), trace_headers(message)
    assert render(message).endswith(message.body), "the body was changed"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "address": address,
    "parameters": parameters,
    "proxy": proxy,
    "session": session,
}
