"""The MIME tree of a message (RFC 2045, 2046): fields, parts and part numbers.

No input raises an error, and work is bounded (see `mime_limits`). Content is sliced from the
message, so an attached message is byte for byte what was sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.mail.addresses import Address, read_addresses
from prixfixe.mail.charsets import PIECE_OCTETS, decode_pieces
from prixfixe.mail.file_names import clean_file_name, made_up_name
from prixfixe.mail.header import Header, read_header
from prixfixe.mail.mime_limits import MAX_PARTS, Budget, TooMuchError
from prixfixe.mail.parameters import Structured, read_structured
from prixfixe.mail.transfer import decoded_pieces, encoding_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Address", "Parsed", "Part", "header_fields", "parse_message"]

_WINDOW = 1024 * 1024  # bytes that one call searches
_DEFAULT_TYPE = "text/plain"
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE
)
_META_OCTETS = 4096
_FIRST_BOUNDARY = re.compile(rb"(?<![^\n])--([^\s][^\n]{0,98}?)[ \t\r]*+\n")
_REST_OF_BOUNDARY = re.compile(rb"(--)?[ \t]*+\r*+(?:\n|\Z)")


@dataclass(frozen=True)
class Part:
    """One leaf of the MIME tree; `number` is as in IMAP: 1, 1.2, 2.

    `file_name` is "" for what has none; `name` is never "".
    """

    number: str
    content_type: str
    disposition: str
    file_name: str
    content_id: str
    charset: str
    encoding: str
    message: bytes
    start: int
    end: int

    @property
    def is_text(self) -> bool:
        """Whether this is a body rather than an attachment."""
        is_body = self.content_type in ("text/plain", "text/html")
        return is_body and self.disposition != "attachment"

    @property
    def is_listed(self) -> bool:
        """Whether this is an attachment, or a text with a name."""
        if not self.is_text:
            return True
        is_inline = self.disposition == "inline" and bool(self.content_id)
        return bool(self.file_name) or is_inline

    @property
    def is_attachment(self) -> bool:
        """Whether Mailpit counts it as an attachment; all others that are listed are inline."""
        if self.disposition == "attachment":
            return True
        is_binary = self.content_type == "application/octet-stream"
        return is_binary and self.disposition != "inline"

    @property
    def name(self) -> str:
        """The file name, the Content-ID, or a name made up."""
        made_up = made_up_name(self.number, self.content_type)
        return self.file_name or clean_file_name(self.content_id) or made_up

    def pieces(self) -> Iterator[bytes]:
        """Yield the content, decoded from its transfer encoding."""
        return decoded_pieces(self.message, self.start, self.end, self.encoding)

    @property
    def content(self) -> bytes:
        """The content, decoded from its transfer encoding."""
        return b"".join(self.pieces())

    def text_pieces(self) -> Iterator[str]:
        """Yield the content as text, whatever its charset claims; line ends are LF."""
        ends_with_cr = False
        for piece in decode_pieces(self.pieces(), self._text_charset):
            text = f"\r{piece}" if ends_with_cr else piece
            ends_with_cr = text.endswith("\r")
            text = text[:-1] if ends_with_cr else text
            yield text.replace("\r\n", "\n") if "\r" in text else text
        if ends_with_cr:
            yield "\r"

    def text(self, characters: int | None = None) -> str:
        """Return the content, or its beginning, as text."""
        pieces, count = [], 0
        for piece in self.text_pieces():
            pieces.append(piece)
            count += len(piece)
            if characters is not None and count >= characters:
                break
        return "".join(pieces)[:characters]

    @cached_property
    def _text_charset(self) -> str:
        """The charset that the part or, in HTML, its beginning names."""
        if self.charset or self.content_type != "text/html":
            return self.charset
        found = _META_CHARSET.search(next(self.pieces(), b""), 0, _META_OCTETS)
        return found[1].decode("ascii") if found else ""


class Parsed(NamedTuple):
    """A message taken apart; of one that would cost too much there may be more.

    `multiparts` are the numbers and types of what holds `parts`; the number of the root is "".
    """

    header: Header
    parts: tuple[Part, ...]
    is_alternative: bool = False
    is_body_cut: bool = False
    multiparts: tuple[tuple[str, str], ...] = ()

    @property
    def is_header_cut(self) -> bool:
        """Whether the header has fields that were not looked at."""
        return self.header.is_cut

    def addresses(self, name: str) -> Iterator[Address]:
        """Yield the mailboxes in all fields of this name."""
        for value in self.header.values(name):
            yield from read_addresses(value)

    def texts(self, content_type: str) -> list[Part]:
        """Return the bodies of this type in order."""
        return [part for part in self.parts if part.is_text and part.content_type == content_type]

    def plain_texts(self) -> list[Part]:
        """Return the text bodies that are shown: of alternatives the first."""
        return self.texts("text/plain")[: 1 if self.is_alternative else None]

    def html(self) -> Part | None:
        """Return the HTML body that is shown: the first."""
        return next(iter(self.texts("text/html")), None)


class _Node(NamedTuple):
    """A place in the tree: a header is read, the content is from `start` to `end`."""

    header: Header
    number: str
    kind: Structured
    start: int
    end: int


def header_fields(body: bytes) -> list[tuple[str, str]]:
    """Return the header fields in order, unfolded, undecoded."""
    return list(read_header(_with_line_feeds(body)).fields)


def parse_message(body: bytes) -> Parsed:
    """Take a message apart; one that would cost too much is shown as one part."""
    return _Parser(body).parse()


def _with_line_feeds(body: bytes) -> bytes:
    """Return what lines are looked for in: a text with CR alone gets LF in the same places."""
    has_line_feed = body.find(b"\n", 0, _WINDOW) >= 0
    return body if has_line_feed or b"\r" not in body[:_WINDOW] else body.replace(b"\r", b"\n")


class _Parser:
    """The way through one message."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._lines = _with_line_feeds(body)
        self._budget = Budget()
        self._parts: list[Part] = []
        self._multiparts: list[tuple[str, str]] = []

    def parse(self) -> Parsed:
        """Return the message taken apart."""
        header = read_header(self._lines)
        root = _node(header, "", _DEFAULT_TYPE, len(self._body))
        is_alternative = root.kind.value == "multipart/alternative"
        try:
            self._budget.take_part(len(header.fields), 0)
            self._walk(root, 0)
            multiparts = tuple(self._multiparts)
            return Parsed(header, tuple(self._parts), is_alternative, multiparts=multiparts)
        except TooMuchError:
            return Parsed(header, (self._leaf(root),), is_alternative, is_body_cut=True)

    def _walk(self, node: _Node, depth: int) -> None:
        """Collect the leaves of a part."""
        if not node.kind.value.startswith("multipart/"):
            self._parts.append(self._leaf(node))
            return
        default = "message/rfc822" if node.kind.value == "multipart/digest" else _DEFAULT_TYPE
        ranges = self._children(node)
        if ranges:
            self._multiparts.append((node.number, node.kind.value))
        for number, (start, end) in enumerate(ranges, 1):
            header = read_header(self._lines, start, end)
            self._budget.take_part(len(header.fields), depth + 1)
            name = f"{node.number}.{number}" if node.number else str(number)
            self._walk(_node(header, name, default, end), depth + 1)
        if not ranges and (depth == 0 or self._has_content(node)):
            self._parts.append(self._leaf(_without_parts(node)))

    def _has_content(self, node: _Node) -> bool:
        return bool(self._body[node.start : min(node.end, node.start + PIECE_OCTETS)].strip())

    def _children(self, node: _Node) -> list[tuple[int, int]]:
        """Return the places of the parts of a multipart; none when no boundary is found."""
        named = node.kind.parameters.get("boundary", "").rstrip().encode("utf-8", "replace")
        ranges = self._split(node, named) if named else []
        if not ranges and (guessed := self._guessed(node)):
            ranges = self._split(node, guessed)
        return ranges

    def _guessed(self, node: _Node) -> bytes:
        """Return the boundary that a multipart uses without naming it, b"" for none."""
        end = min(node.end, node.start + _WINDOW)
        found = _FIRST_BOUNDARY.search(self._lines, node.start, end)
        if found is None:
            return b""
        is_closed = self._find(b"\n--" + found[1] + b"--", found.end() - 1, node.end) >= 0
        return found[1] if is_closed else b""

    def _split(self, node: _Node, boundary: bytes) -> list[tuple[int, int]]:
        """Return the places between delimiters; what follows a closing one is left out."""
        ranges: list[tuple[int, int]] = []
        opened: int | None = None
        for start, after, is_closing in self._delimiters(node, b"--" + boundary):
            if opened is not None:
                ranges.append((opened, max(opened, start)))
            if len(ranges) > MAX_PARTS:
                raise TooMuchError
            opened = None if is_closing else after
        if opened is not None:
            ranges.append((opened, node.end))
        return ranges

    def _delimiters(self, node: _Node, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
        """Yield of each delimiter where the content before it ends, where it ends, and its kind."""
        self._budget.take_look(node.end - node.start)
        at = node.start
        if not self._lines.startswith(delimiter, at, node.end):
            at = self._find(b"\n" + delimiter, at, node.end) + 1
        while at > 0:
            self._budget.take_candidate()
            rest = _REST_OF_BOUNDARY.match(self._lines, at + len(delimiter), node.end)
            after = at + len(delimiter) if rest is None else rest.end()
            if rest is not None:
                yield self._content_end(node.start, at), after, rest[1] is not None
            # The line end of one delimiter may be the one before the next.
            at = self._find(b"\n" + delimiter, max(at, after - 1), node.end) + 1

    def _content_end(self, start: int, at: int) -> int:
        """Return where content ends before a delimiter: its line end belongs to the delimiter."""
        if at > start and self._lines[at - 1 : at] == b"\n":
            at -= 1
            if at > start and self._lines[at - 1 : at] == b"\r":
                at -= 1
        return at

    def _find(self, wanted: bytes, start: int, end: int) -> int:
        """Return the first place of some bytes, -1 for none; each call searches a window."""
        at = start
        while at < end:
            stop = min(at + _WINDOW, end)
            found = self._lines.find(wanted, at, min(stop + len(wanted) - 1, end))
            if found >= 0:
                return found
            at = stop
        return -1

    def _leaf(self, node: _Node) -> Part:
        header, kind = node.header, node.kind
        disposition = read_structured(header.first("Content-Disposition"))
        name = disposition.parameters.get("filename") or kind.parameters.get("name", "")
        return Part(
            node.number or "1",
            kind.value,
            disposition.value,
            clean_file_name(name),
            header.first("Content-ID").strip("<> \t"),
            kind.parameters.get("charset", ""),
            encoding_name(header.first("Content-Transfer-Encoding")),
            self._body,
            node.start,
            node.end,
        )


def _node(header: Header, number: str, default: str, end: int) -> _Node:
    kind = read_structured(header.first("Content-Type"))
    if kind.value.count("/") != 1 or kind.value.startswith("/") or kind.value.endswith("/"):
        kind = kind._replace(value=default)
    return _Node(header, number, kind, min(header.end, end), end)


def _without_parts(node: _Node) -> _Node:
    """Return a multipart in which no parts are found as the text that it is."""
    return node._replace(kind=node.kind._replace(value=_DEFAULT_TYPE))
