"""Large answers in pieces of a few times `PIECE_OCTETS`.

The JSON encoder holds the interpreter until it returns, so a piece takes well under a millisecond.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PAGE_OCTETS", "PIECE_OCTETS", "Page", "cut", "fitting", "json_pieces", "listed"]

T = TypeVar("T")

PIECE_OCTETS = 32 * 1024
PAGE_OCTETS = 4 * 1024 * 1024  # of records in one answer: a thousand usual ones are 0.5 MiB
_CHARACTERS = 8 * 1024  # six bytes each in ASCII at most, twelve beyond U+FFFF


def cut(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what the parts hold, in pieces that are copied when their turn comes."""
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), PIECE_OCTETS):
            yield bytes(view[start : start + PIECE_OCTETS])


class Page(Generic[T]):
    """The entries of one answer of at most so many bytes; the first is always among them."""

    def __init__(self, most: int) -> None:
        self.entries: list[T] = []
        self._left = most
        self.is_full = False

    def add(self, entry: T, octets: int) -> None:
        """Take the next entry if there is room for it."""
        self._left -= octets
        self.is_full |= bool(self.entries) and self._left < 0
        if not self.is_full:
            self.entries.append(entry)


def fitting(records: Iterable[Any]) -> list[bytes]:
    """Return records as JSON, as many as one answer may hold; the first is always among them."""
    page: Page[bytes] = Page(PAGE_OCTETS)
    for record in records:
        written = _dumped(record).encode("ascii")
        page.add(written, len(written))
        if page.is_full:
            break
    return page.entries


def listed(name: str, records: Iterable[bytes]) -> bytes:
    """Return a JSON object with one list."""
    return b'{"%b":[%b]}\n' % (name.encode("ascii"), b",".join(records))


def json_pieces(content: Any) -> Iterator[bytes]:  # noqa: ANN401 - whatever JSON can hold
    """Yield JSON and a line end."""
    held = bytearray()
    for token in _tokens(content):
        held += token.encode("ascii")
        if len(held) >= PIECE_OCTETS:
            yield bytes(held)
            held.clear()
    yield bytes(held) + b"\n"


def _tokens(value: Any) -> Iterator[str]:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, str):
        yield from _string(value)
    elif isinstance(value, dict):
        yield from _listed("{}", ((f"{_dumped(str(key))}:", one) for key, one in value.items()))
    elif isinstance(value, list):
        yield from _listed("[]", (("", one) for one in value))
    else:
        yield _dumped(value)


def _listed(brackets: str, items: Iterable[tuple[str, Any]]) -> Iterator[str]:
    yield brackets[0]
    comma = ""
    for name, value in items:
        yield comma + name
        yield from _tokens(value)
        comma = ","
    yield brackets[1]


def _string(text: str) -> Iterator[str]:
    if len(text) <= _CHARACTERS:
        yield _dumped(text)
        return
    yield '"'
    for start in range(0, len(text), _CHARACTERS):
        yield _dumped(text[start : start + _CHARACTERS])[1:-1]
    yield '"'


def _dumped(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    return json.dumps(value, separators=(",", ":"))
