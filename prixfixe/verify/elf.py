"""What a program for Linux says of itself: its processor, and the libraries that it needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MACHINES", "Program", "program_in"]

# By the engine's name of an architecture: the number in ELF's header.
MACHINES = {
    "386": 3,
    "amd64": 62,
    "arm": 40,
    "arm64": 183,
    "ppc64le": 21,
    "riscv64": 243,
    "s390x": 22,
}
_MAGIC = b"\x7fELF"
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _NAME = 1, 5, 14


@dataclass(frozen=True)
class Program:
    """A program or library. `needed` are names of libraries, `interpreter` is a path or nothing."""

    machine: int
    needed: tuple[str, ...] = ()
    interpreter: str = ""


def program_in(octets: bytes) -> Program | None:
    """Return what a file says of itself, or None if it is no program (ELF, System V ABI 4.1)."""
    if octets[:4] != _MAGIC or len(octets) < 20:
        return None
    order = "<" if octets[5:6] == b"\x01" else ">"
    machine = struct.unpack_from(f"{order}H", octets, 18)[0]
    try:
        return _read(octets, order, machine)
    except (struct.error, IndexError, ValueError):
        return Program(machine)  # cut off: its header is all that can be told


@dataclass(frozen=True)
class _Segment:
    kind: int
    at: int
    address: int
    size: int


def _segments(octets: bytes, order: str) -> Iterator[_Segment]:
    is_wide = octets[4:5] == b"\x02"
    word, at = ("Q", 32) if is_wide else ("I", 28)
    start = struct.unpack_from(order + word, octets, at)[0]
    size, count = struct.unpack_from(f"{order}HH", octets, 54 if is_wide else 42)
    for number in range(count):
        row = start + number * size
        if is_wide:
            kind, _, at, address, _, length = struct.unpack_from(f"{order}IIQQQQ", octets, row)
        else:
            kind, at, address, _, length = struct.unpack_from(f"{order}IIIII", octets, row)
        yield _Segment(kind, at, address, length)


def _read(octets: bytes, order: str, machine: int) -> Program:
    segments = list(_segments(octets, order))
    interpreter = ""
    rows: list[tuple[int, int]] = []
    for one in segments:
        if one.kind == _INTERPRETER:
            interpreter = _text(octets, one.at)
        elif one.kind == _DYNAMIC:
            word = f"{order}qQ" if octets[4:5] == b"\x02" else f"{order}iI"
            size = struct.calcsize(word)
            whole = octets[one.at : one.at + one.size // size * size]
            rows = list(struct.iter_unpack(word, whole))
    strings = next((value for tag, value in rows if tag == _STRINGS), 0)
    at = next(
        (
            one.at + strings - one.address
            for one in segments
            if one.kind == _LOAD and one.address <= strings < one.address + one.size
        ),
        0,
    )
    needed = tuple(_text(octets, at + value) for tag, value in rows if tag == _NEEDED)
    return Program(machine, needed, interpreter)


def _text(octets: bytes, at: int) -> str:
    return octets[at : octets.index(b"\0", at)].decode("ascii", "replace")
