"""An accepted message: body, envelope, id, and its trace headers (RFC 5321 section 4.4).

A body is never changed. `Envelope.from_json(e.to_json()) == e` holds for every envelope. Ids are
unique, whatever the clock does and however many processes make them.
"""

from __future__ import annotations

import json
import os
import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Envelope",
    "IdSource",
    "Message",
    "Params",
    "Recipient",
    "is_id",
    "render",
    "trace_headers",
]

_quote = json.encoder.encode_basestring_ascii

# Upper-cased keyword, value in its own case; None where the parameter had no "=".
Params = tuple[tuple[str, str | None], ...]


class Recipient(NamedTuple):
    """One accepted `RCPT TO`: the mailbox as sent and its parameters (RFC 3461)."""

    address: str
    params: Params = ()


class Envelope(NamedTuple):
    """What the SMTP session said about a message, kept exactly.

    `sender` is "" for the null reverse-path. `peer` is `host:port` or `[v6]:port` of the client
    (behind PROXY, the real one). `protocol` is a keyword of RFC 3848 or RFC 6531 section 4.3.
    `domain` is the name this server gave itself. `tls` names protocol version and cipher.
    """

    sender: str
    recipients: tuple[Recipient, ...]
    sender_params: Params = ()
    peer: str = ""
    helo: str = ""
    protocol: str = "ESMTP"
    domain: str = "localhost"
    tls: str | None = None
    user: str | None = None

    def to_json(self) -> str:
        """Return one line of ASCII JSON, whatever Unicode the addresses hold.

        By hand: every message that is kept needs it, and `json.dumps` takes four times as long.
        """
        sender, recipients, sender_params, peer, helo, protocol, domain, tls, user = self
        listed = ",".join([f"[{_quote(one)},{_listed(params)}]" for one, params in recipients])
        return (
            f'{{"sender":{_quote(sender)},"recipients":[{listed}],'
            f'"sender_params":{_listed(sender_params)},"peer":{_quote(peer)},'
            f'"helo":{_quote(helo)},"protocol":{_quote(protocol)},"domain":{_quote(domain)},'
            f'"tls":{_quoted(tls)},"user":{_quoted(user)}}}'
        )

    @classmethod
    def from_json(cls, text: str) -> Envelope:
        """Rebuild an envelope from `to_json`.

        Raises:
            ValueError: the text is not JSON or not such a record.

        """
        try:
            record = json.loads(text)
            record["sender_params"] = _params(record["sender_params"])
            record["recipients"] = tuple(
                Recipient(address, _params(params)) for address, params in record["recipients"]
            )
            return cls(**record)
        except (TypeError, KeyError) as error:
            msg = f"not an envelope record: {error}"
            raise ValueError(msg) from error


def _quoted(text: str | None) -> str:
    return "null" if text is None else _quote(text)


def _listed(params: Params) -> str:
    return f"[{','.join([f'[{_quote(name)},{_quoted(value)}]' for name, value in params])}]"


def _params(pairs: list[list[str | None]]) -> Params:
    return tuple((str(name), value) for name, value in pairs)


class Message(NamedTuple):
    """One accepted message. `received_at` is seconds since the epoch; `body` is sacred."""

    id: str
    received_at: float
    envelope: Envelope
    body: bytes


_ID = re.compile(r"[0-9A-Za-z_-]{1,32}")


def is_id(text: str) -> bool:
    """Whether this may be an id: of letters that mean nothing in a path, a URL or a header."""
    return _ID.fullmatch(text) is not None


class IdSource:
    """Make message ids: 28 URL-safe characters that sort by time.

    Milliseconds (11 hex digits), a random number drawn per source (12), a counter (5). The random
    part separates processes and restarts; the counter separates messages of one millisecond or
    of a clock that stands still, and drawing anew when it wraps keeps that true for ever.
    """

    __slots__ = ("_clock", "_count", "_millisecond", "_prefix", "_random", "_source")

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock = clock
        self._random = random
        self._draw()

    def _draw(self) -> None:
        self._source = self._random(6).hex()
        self._count = 0
        self._millisecond = -1

    def __call__(self) -> tuple[str, float]:
        """Return a fresh id and the time it was made, in seconds since the epoch."""
        now = self._clock()
        if self._count > 0xFFFFF:
            self._draw()
        millisecond = int(now * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._prefix = f"{millisecond:011x}{self._source}"
        made = f"{self._prefix}{self._count:05x}"
        self._count += 1
        return made, now


def trace_headers(message: Message) -> bytes:
    """Return `Return-Path` and `Received`, each ended by CRLF (RFC 5321 section 4.4, RFC 6531)."""
    envelope = message.envelope
    only = envelope.recipients[0].address if len(envelope.recipients) == 1 else None
    lines = [
        f"Return-Path: <{envelope.sender}>",
        f"Received: from {envelope.helo or 'unknown'} ({_peer_literal(envelope.peer)})",
        f"\tby {envelope.domain} with {envelope.protocol} id {message.id}"
        + (f"\r\n\tfor <{only}>" if only is not None else ""),
    ]
    date = formatdate(message.received_at)
    text = "\r\n".join(lines) + f"; {date[:-5]}+0000\r\n"
    return text.encode()


def _peer_literal(peer: str) -> str:
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0]  # A zone is nobody else's.
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


def render(message: Message) -> bytes:
    """Return the message as a file: trace headers, then the body byte for byte."""
    return trace_headers(message) + message.body
