"""What a server delivered, read as equal to what was sent where the standards call it equal.

Deliveries of one message are one message again. A delivered file has the line ends of its system.
A body without a header was sent with one, or has an empty line between it and the server's. A
mailbox may be quoted otherwise (RFC 5321 section 4.1.2), and recipients may come in any order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prixfixe.verify.dialogue.servers import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["PREFACE", "PeerStored", "delivered", "grouped", "kept"]

PREFACE = b"Subject: x\r\n\r\n"  # of messages without a header, which not everybody takes

# What a server puts in front of a message, each at most once.
_TRACE = re.compile(
    rb"(Return-Path|X-Original-To|Delivered-To|Envelope-To|Delivery-Date|Received):"
    rb"[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.IGNORECASE,
)
# The first holds the queue's name of the message, which deliveries have in common.
_RECEIVED = re.compile(rb"^Received:.*\n(?:[ \t].*\n)*", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(rb"\sid ([\w-]+)")
_PAIR = re.compile(r"\\(.)", re.DOTALL)


class PeerStored(Stored):
    """A delivered message."""

    def has_body(self, wanted: bytes) -> bool:
        return self.body in (wanted, b"\r\n" + wanted, PREFACE + wanted)

    def is_from(self, wanted: str) -> bool:
        return _plain(self.sender) == _plain(wanted)

    def is_for(self, wanted: Sequence[str]) -> bool:
        return sorted(map(_plain, self.recipients)) == sorted(map(_plain, wanted))


def _plain(mailbox: str) -> str:
    local, _, domain = mailbox.rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = _PAIR.sub(r"\1", local[1:-1])
    return f"{local}@{domain.lower()}" if domain else mailbox


def kept(told: bytes, *, are_names_in_order: bool) -> list[PeerStored]:
    """Return the messages of the window's answer, oldest first.

    That is the order of the queue's names for them, or else that in which delivery began.
    """
    found: dict[bytes, PeerStored] = {}
    for octets in _records(told):
        count, rest = octets.split(b"\0", 1)
        *fields, raw = rest.split(b"\0", int(count))
        sender, *recipients = (one.decode("utf-8", "surrogateescape") for one in fields)
        received = _RECEIVED.search(raw)
        name = received[0] if received else raw
        if name in found:
            recipients = [*found[name].recipients, *recipients]
        found[name] = _message(sender, recipients, raw)
    names = sorted(found, key=_name) if are_names_in_order else list(found)
    return [found[name] for name in names]


def _name(received: bytes) -> bytes:
    found = _NAME.search(received)
    return found[1] if found else b""


def _records(told: bytes) -> Iterator[bytes]:
    while told:
        size, _, told = told.partition(b" ")
        yield told[: int(size)]
        told = told[int(size) :]


_TO = (
    re.compile(rb"^(?:X-Original-To|Envelope-To):[ \t]*([^\n]*)", re.IGNORECASE | re.MULTILINE),
    re.compile(rb"^Delivered-To:[ \t]*([^\n]*)", re.IGNORECASE | re.MULTILINE),
    re.compile(rb"\sfor\s<([^>]*)>"),
)
_FROM = re.compile(rb"^Return-Path:[ \t]*([^\n]*)", re.IGNORECASE | re.MULTILINE)
_ORIGINAL = re.compile(rb"^X-Original-To:[^\n]*\n", re.IGNORECASE | re.MULTILINE)


def grouped(files: Iterable[bytes]) -> list[Stored]:
    """Return the messages of delivered files, those of one message together.

    A file's recipient is in the header that the server puts in front, its sender in Return-Path.
    Files of one message have the queue's name in common.
    """
    found: dict[bytes, Stored] = {}
    for number, octets in enumerate(files):
        raw = octets.replace(b"\r\n", b"\n")
        received = _RECEIVED.search(raw)
        front = raw[: received.end() if received else raw.find(b"\n\n") + 1]
        name = (_name(received[0]) if received else b"") or b"%d" % number
        before = found[name].recipients if name in found else ()
        raw = _ORIGINAL.sub(b"", raw, count=1)  # it says nothing that Delivered-To does not
        found[name] = _message(_sender(front), [*before, *_recipient(front)], raw)
    return list(found.values())


def _sender(front: bytes) -> str:
    found = _FROM.search(front)
    return _address(found[1]) if found else ""


def _address(text: bytes) -> str:
    plain = text.decode("utf-8", "surrogateescape").strip()
    return plain[1:-1] if plain[:1] == "<" and plain[-1:] == ">" else plain


def _recipient(front: bytes) -> list[str]:
    for pattern in _TO:
        if found := pattern.search(front):
            return [_address(found[1])]
    return []


def delivered(sender: str, recipients: Sequence[str], raw: bytes) -> PeerStored:
    """Return a message with what a server puts in front of it taken off."""
    return _message(sender, recipients, raw.replace(b"\r\n", b"\n"))


def _message(sender: str, recipients: Sequence[str], raw: bytes) -> PeerStored:
    at, seen = 0, set()
    while (found := _TRACE.match(raw, at)) and (name := found[1].lower()) not in seen:
        seen.add(name)
        at = found.end()
    body, whole = (octets.replace(b"\n", b"\r\n") for octets in (raw[at:], raw))
    return PeerStored(sender, tuple(recipients), body, whole)
