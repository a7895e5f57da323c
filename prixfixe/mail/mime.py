"""From a stored message to what an API client wants to read: headers, parts, text.

Owns: what fields and parts say, leniently, and part numbers.
Promises: no input raises; work is bounded (see `mimetree`); nothing is rendered, fetched or
executed.
Refuses: knowing HTTP or Mailpit's JSON (see `http.mailpit`).
"""

from __future__ import annotations

from email.header import decode_header, make_header
from email.message import Message as MimeMessage
from email.utils import getaddresses
from typing import NamedTuple

from prixfixe.mail import charsets
from prixfixe.mail.mime_limits import MAX_HEADER_OCTETS, parse_header, parse_tree

__all__ = ["Address", "Parsed", "Part", "header_fields", "parse_message"]

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
        text = charsets.decode(self.content[:octets], self.charset)
        return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")


class Parsed(NamedTuple):
    """A message taken apart; of one that would cost too much there may be more."""

    root: MimeMessage
    parts: tuple[Part, ...]
    is_header_cut: bool = False
    is_body_cut: bool = False

    def header(self, name: str, characters: int = MAX_FIELD_CHARACTERS) -> str:
        """Return the decoded text of a field, or of its beginning, "" when there is none."""
        return decoded(next(iter(self.values(name)), "")[:characters])

    def values(self, name: str) -> list[str]:
        """Return all fields of this name as they are written."""
        wanted = name.lower()
        return [_text(value) for key, value in self.root.raw_items() if key.lower() == wanted]

    def addresses(self, name: str, characters: int = MAX_FIELD_CHARACTERS) -> list[Address]:
        """Return the mailboxes in the first characters of all fields of this name."""
        try:
            pairs = getaddresses(_begin(self.values(name), characters))
        except Exception:  # noqa: BLE001 - nested comments exhaust the stack, and who knows what else
            return []
        return [Address(decoded(shown), decoded(box)) for shown, box in pairs if box]

    def body(self, content_type: str, octets: int | None = None) -> str:
        """Return the joined text, or the beginnings, of all bodies of this type."""
        bodies = [part for part in self.parts if part.is_text]
        return "\n".join(part.text(octets) for part in bodies if part.content_type == content_type)


def _begin(values: list[str], characters: int) -> list[str]:
    """Return whole addresses, as long as they are within the first characters of all values."""
    kept = []
    for value in values:
        is_whole = len(value) <= characters
        kept.append(value if is_whole else value[:characters].rpartition(",")[0])
        characters -= len(value)
        if characters <= 0:
            break
    return kept


def decoded(raw: str) -> str:
    """Decode RFC 2047 words; text with a lying charset comes back as it is."""
    raw = raw[:MAX_FIELD_CHARACTERS]
    try:
        text = str(make_header([_word(*chunk) for chunk in decode_header(raw)]))
    except Exception:  # noqa: BLE001 - hostile mail finds ways the library did not expect
        text = raw
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _word(text: str | bytes, charset: str | None) -> tuple[str | bytes, str | None]:
    """Return a piece of a field with a charset the library may look up."""
    known = None if charset is None else charsets.canonical(charset)
    if known is None and charset is not None:
        raise LookupError(charset)
    return text, known


def _text(value: object) -> str:
    """Return a field's text: what the parser could not decode is UTF-8 (RFC 6532) or unknown."""
    octets = str(value).encode("utf-8", "surrogateescape")
    return octets.decode("utf-8", "replace")


def header_fields(body: bytes) -> list[tuple[str, str]]:
    """Return the header fields in order, unfolded, undecoded."""
    root = parse_header(body)
    return [(name, " ".join(_text(value).split())) for name, value in root.raw_items()]


def parse_message(body: bytes) -> Parsed:
    """Take a message apart; one that would cost too much is shown as one part."""
    root, rest = parse_tree(body)
    parts: list[Part] = []
    if rest is None:
        _collect(root, "", parts)
    else:
        parts.append(_part(root, "1", rest))
    is_header_cut = rest is not None and len(body) - len(rest) >= MAX_HEADER_OCTETS
    return Parsed(root, tuple(parts), is_header_cut, rest is not None)


def _collect(node: MimeMessage, prefix: str, parts: list[Part]) -> None:
    children = node.get_payload() if node.is_multipart() else None
    if not isinstance(children, list) or node.get_content_type() == "message/rfc822":
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
    except Exception:  # noqa: BLE001 - as in decoded
        return b""
    return content if isinstance(content, bytes) else b""


def _part(node: MimeMessage, number: str, content: bytes) -> Part:
    return Part(
        number,
        node.get_content_type(),
        _quietly(node.get_content_disposition),
        decoded(
            _parameter(node, "Content-Disposition", "filename")
            or _parameter(node, "Content-Type", "name")
        ),
        str(node.get("Content-ID", "")).strip().strip("<>"),
        _parameter(node, "Content-Type", "charset"),
        content,
    )


def _parameter(node: MimeMessage, field: str, name: str) -> str:
    """Return a parameter of a field, decoded as RFC 2231 says."""
    try:
        value = node.get_param(name, "", field)
        if not isinstance(value, tuple):
            return str(value).strip()
        charset, _language, text = value
        return charsets.decode(text.encode("raw-unicode-escape"), charset or "us-ascii").strip()
    except Exception:  # noqa: BLE001 - as in decoded
        return ""


def _quietly(ask: object) -> str:
    """Return what a method of the email package says, "" when hostile mail makes it fail."""
    try:
        return str(ask() or "") if callable(ask) else ""
    except Exception:  # noqa: BLE001 - as in decoded
        return ""
