"""From octets to the email package's tree, in bounded work.

Owns: how much of a message the standard library may take apart, and of each field.
Promises: no input raises; parts, depth, fields, parameters and lines are bounded, alone and where
they multiply; the parser is stopped while it works: what it builds is never counted afterwards.
Refuses: meaning (see `mime`).
"""

from __future__ import annotations

import contextlib
from email.message import Message as MimeMessage
from email.parser import BytesFeedParser, BytesHeaderParser
from email.policy import compat32
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_HEADER_OCTETS", "MAX_PARTS", "parse_header", "parse_tree"]

MAX_PARTS = 1000  # of the tree, those that hold others too
MAX_LINES = 200_000  # each costs the library some 60 octets; 10 MiB of base64 have 138,000
MAX_NESTING = 200  # parts within parts; deeper mail is shown as one part
MAX_LOOKS = 2_000_000  # lines times depth: each line is held against every boundary open
MAX_COPIED = 256 * 1024 * 1024  # octets times depth: a message in a message is written out again
MAX_FIELDS = 20_000  # of all parts together
MAX_HEADER_OCTETS = 256 * 1024  # of the message
# The library's time for a field with parameters grows with characters times parameters, and it
# reads each some ten times. A file name of 255 octets takes 765 characters at most (RFC 2231).
MAX_PARAMETERS = 32
MAX_STRUCTURED_CHARACTERS = 2048
_PIECE_OCTETS = 64 * 1024


class _TooMuchError(Exception):
    """The message would cost more than it may."""


class _Budget:
    """What one message may still cost."""

    def __init__(self, lines: int, octets: int) -> None:
        self._parts = MAX_PARTS + 1  # The library makes one to see how.
        self._fields = MAX_FIELDS
        most = min(MAX_LOOKS // max(lines, 1), MAX_COPIED // max(octets, 1))
        self._depth = min(MAX_NESTING, most)

    def take_part(self) -> None:
        self._parts -= 1
        if self._parts < 0:
            raise _TooMuchError

    def take_field(self) -> None:
        self._fields -= 1
        if self._fields < 0:
            raise _TooMuchError

    def check_depth(self, depth: int) -> None:
        if depth > self._depth:
            raise _TooMuchError


class _Node(MimeMessage):
    """A part, which bounds the fields that the library will look at."""

    def set_raw(self, name: str, value: str) -> None:
        """Take a field as the parser found it."""
        super().set_raw(name, _cut(value) if name.lower().startswith("content-") else value)

    def get_boundary(self, failobj: Any = None) -> Any:  # noqa: ANN401 - as the library has it
        """Return the boundary; none in RFC 2231's form: a name of a charset would be looked up."""
        value = self.get_param("boundary")
        return value.rstrip() if isinstance(value, str) else failobj


class _CountedNode(_Node):
    """A part that is paid for."""

    def __init__(self, budget: _Budget, policy: Any) -> None:  # noqa: ANN401 - as the library has it
        super().__init__(policy)
        self._budget = budget
        self._depth = 0
        budget.take_part()

    def attach(self, payload: Any) -> None:  # noqa: ANN401 - as the library has it
        """Take in a part, whose header is not read yet."""
        super().attach(payload)
        payload._depth = self._depth + 1  # noqa: SLF001 - one of us
        self._budget.check_depth(payload._depth)  # noqa: SLF001

    def set_raw(self, name: str, value: str) -> None:
        """Take a field as the parser found it."""
        self._budget.take_field()
        super().set_raw(name, value)


def _cut(value: str) -> str:
    parameters = value[:MAX_STRUCTURED_CHARACTERS].split(";", MAX_PARAMETERS)
    return ";".join(parameters[:MAX_PARAMETERS])


def parse_tree(body: bytes) -> tuple[MimeMessage, bytes | None]:
    """Return a message taken apart, and None; or its header alone, and the octets that follow."""
    end, lines = _header_end(body), body.count(b"\n")
    if end < MAX_HEADER_OCTETS and lines <= MAX_LINES:
        # Too much; or hostile mail found a way that the library did not expect.
        with contextlib.suppress(Exception):
            return _parse(body, partial(_CountedNode, _Budget(lines, len(body)))), None
    return _parse_fields(body[:end], _Node), body[end:]


def parse_header(body: bytes) -> MimeMessage:
    """Return the header of a message, nothing left out."""
    return _parse_fields(body[: _header_end(body)], MimeMessage)


def _header_end(body: bytes) -> int:
    end = body.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS)
    return min(len(body), MAX_HEADER_OCTETS) if end < 0 else end + 4


def _parse(octets: bytes, factory: Callable[..., MimeMessage]) -> MimeMessage:
    # In pieces: given everything at once, the library makes five copies of it.
    parser = BytesFeedParser(factory, policy=compat32)
    for at in range(0, len(octets), _PIECE_OCTETS):
        parser.feed(octets[at : at + _PIECE_OCTETS])
    return parser.close()


def _parse_fields(octets: bytes, factory: type[MimeMessage]) -> MimeMessage:
    try:
        return BytesHeaderParser(factory, policy=compat32).parsebytes(octets)
    except Exception:  # noqa: BLE001 - as in parse_tree
        return factory(policy=compat32)
