"""From a stored message to what an API client wants to read: headers, parts, text.

Owns: tolerant parsing with the standard library's email package, and part numbers.
Promises: no input raises; work is bounded in depth and number of parts; nothing is rendered,
fetched or executed.
Refuses: knowing HTTP or Mailpit's JSON (see `http.mailpit`).
"""

from __future__ import annotations

import re
from email.header import decode_header, make_header
from email.message import Message as MimeMessage
from email.parser import BytesFeedParser
from email.policy import compat32
from email.utils import getaddresses
from typing import NamedTuple

__all__ = ["Address", "Parsed", "Part", "header_fields", "parse_message"]

MAX_PARTS = 1000
_BOUNDARY = re.compile(rb"boundary[ \t]*=", re.IGNORECASE)
MAX_LINES = 200_000  # each costs the library some 60 octets; 10 MiB of base64 have 138,000
MAX_NESTING = 200  # boundaries open at once; deeper mail is shown as one part
MAX_HEADER_OCTETS = 256 * 1024  # of the message
MAX_PART_HEADER_OCTETS = 64 * 1024  # of each part
_PIECE_OCTETS = 64 * 1024
MAX_FIELD_CHARACTERS = 64 * 1024  # looked at for addresses or decoding


class Address(NamedTuple):
    """A display name, decoded, and a mailbox."""

    name: str
    address: str


class Part(NamedTuple):
    """One leaf of the MIME tree; `number` is as in IMAP: 1, 1.2, 2."""

    number: str
    content_type: str
    disposition: str
    file_name: str
    content_id: str
    charset: str
    content: bytes

    @property
    def is_text(self) -> bool:
        """Whether this is a body rather than an attachment."""
        is_body = self.content_type in ("text/plain", "text/html")
        return is_body and self.disposition != "attachment" and not self.file_name

    def text(self, octets: int | None = None) -> str:
        """Return the content, or its beginning, as text, whatever its charset claims."""
        content = self.content[:octets]
        try:
            text = content.decode(self.charset or "utf-8", "replace")
        except (LookupError, ValueError):  # No such charset, or one that is no text encoding.
            text = content.decode("utf-8", "replace")
        return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")


class Parsed(NamedTuple):
    """A message taken apart."""

    root: MimeMessage
    parts: tuple[Part, ...]

    def header(self, name: str) -> str:
        """Return a field's decoded text, "" when there is none."""
        return decoded(next(iter(self._values(name)), ""))

    def _values(self, name: str) -> list[str]:
        wanted = name.lower()
        return [_text(value) for key, value in self.root.raw_items() if key.lower() == wanted]

    def addresses(self, name: str) -> list[Address]:
        """Return the mailboxes of all fields of this name."""
        values = [value[:MAX_FIELD_CHARACTERS] for value in self._values(name)]
        try:
            pairs = getaddresses(values)
        except Exception:  # noqa: BLE001 - as in _parse; nested comments exhaust the stack
            return []
        return [Address(decoded(shown), decoded(box)) for shown, box in pairs if box]

    def body(self, content_type: str, octets: int | None = None) -> str:
        """Return the joined text, or the beginnings, of all bodies of this type."""
        bodies = [part for part in self.parts if part.is_text]
        return "\n".join(part.text(octets) for part in bodies if part.content_type == content_type)


def decoded(raw: str) -> str:
    """Decode RFC 2047 words; text with a lying charset comes back as it is."""
    raw = raw[:MAX_FIELD_CHARACTERS]
    try:
        text = str(make_header(decode_header(raw)))
    except Exception:  # noqa: BLE001 - as in _parse
        text = raw
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _text(value: object) -> str:
    """Return a field's text: what the parser could not decode is UTF-8 (RFC 6532) or unknown."""
    octets = str(value).encode("utf-8", "surrogateescape")
    return octets.decode("utf-8", "replace")


def header_fields(body: bytes) -> list[tuple[str, str]]:
    """Return the header fields in order, unfolded, undecoded."""
    root = _parse(body[: _header_end(body)])
    return [(name, " ".join(_text(value).split())) for name, value in root.raw_items()]


def _header_end(body: bytes) -> int:
    end = body.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS)
    return min(len(body), MAX_HEADER_OCTETS) if end < 0 else end + 4


def _parse(octets: bytes) -> MimeMessage:
    try:
        # In pieces: given everything at once, the library makes five copies of it.
        parser = BytesFeedParser(policy=compat32)
        for at in range(0, len(octets), _PIECE_OCTETS):
            parser.feed(octets[at : at + _PIECE_OCTETS])
        return parser.close()
    except Exception:  # noqa: BLE001 - hostile mail finds ways the parser did not expect
        return MimeMessage(policy=compat32)


def parse_message(body: bytes) -> Parsed:
    """Take a message apart."""
    is_whole = _is_bounded(body)
    root = _parse(body if is_whole else body[: _header_end(body)])
    parts: list[Part] = []
    if not is_whole:
        parts.append(_part(root, "1", body[_header_end(body) :]))
    else:
        _collect(root, "", parts)
    return Parsed(root, tuple(parts))


def _is_bounded(body: bytes) -> bool:
    """Whether the library may take a message apart: it builds every part before we can count."""
    if _header_end(body) >= MAX_HEADER_OCTETS:
        return False
    if len(_BOUNDARY.findall(body)) > MAX_NESTING or body.count(b"\n") > MAX_LINES:
        return False
    at = body.find(b"\n--")
    for _ in range(2 * MAX_PARTS):
        if at < 0:
            return True
        end = body.find(b"\r\n\r\n", at, at + MAX_PART_HEADER_OCTETS)
        if end < 0 and len(body) - at > MAX_PART_HEADER_OCTETS:
            return False
        at = body.find(b"\n--", at + 1)
    return False


def _collect(node: MimeMessage, prefix: str, parts: list[Part]) -> None:
    children = node.get_payload() if node.is_multipart() else None
    if not isinstance(children, list) or node.get_content_type() == "message/rfc822":
        if len(parts) < MAX_PARTS:
            parts.append(_part(node, prefix or "1", _content(node)))
        return
    for number, child in enumerate(children, 1):
        if isinstance(child, MimeMessage):
            _collect(child, f"{prefix}.{number}" if prefix else str(number), parts)


def _content(node: MimeMessage) -> bytes:
    try:
        if node.is_multipart():  # An attached message.
            return b"".join(bytes(child) for child in node.get_payload())  # type: ignore[arg-type]
        content = node.get_payload(decode=True)
    except Exception:  # noqa: BLE001 - as in _parse
        return b""
    return content if isinstance(content, bytes) else b""


def _part(node: MimeMessage, number: str, content: bytes) -> Part:
    return Part(
        number,
        node.get_content_type(),
        _quietly(node.get_content_disposition),
        decoded(_quietly(node.get_filename)),
        str(node.get("Content-ID", "")).strip().strip("<>"),
        _quietly(node.get_content_charset),
        content,
    )


def _quietly(ask: object) -> str:
    """Return what a method of the email package says, "" when hostile mail makes it fail."""
    try:
        return str(ask() or "") if callable(ask) else ""
    except Exception:  # noqa: BLE001 - as in _parse
        return ""
