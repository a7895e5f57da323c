"""What taking one message apart may cost: parts, depth, fields, and bytes looked at."""

from __future__ import annotations

__all__ = [
    "MAX_FIELDS",
    "MAX_HEADER_OCTETS",
    "MAX_NESTING",
    "MAX_PARAMETERS",
    "MAX_PARTS",
    "MAX_STRUCTURED_CHARACTERS",
    "Budget",
    "TooMuchError",
]

MAX_PARTS = 1000  # of the tree, those that hold others too
MAX_NESTING = 200  # parts within parts
MAX_LOOKED_AT = 256 * 1024 * 1024  # bytes searched for boundaries: bytes times depth
MAX_CANDIDATES = 200_000  # lines that begin like a boundary
MAX_FIELDS = 20_000  # of all parts together
MAX_HEADER_OCTETS = 256 * 1024  # of the message, and of each part
MAX_STRUCTURED_CHARACTERS = 8192  # of a field with parameters that are looked at
MAX_PARAMETERS = 64  # A file name of 255 bytes takes 765 characters at most (RFC 2231).


class TooMuchError(Exception):
    """The message would cost more than it may."""


class Budget:
    """What one message may still cost; what is beyond raises `TooMuchError`."""

    def __init__(self) -> None:
        self._parts = MAX_PARTS
        self._fields = MAX_FIELDS
        self._looks = MAX_LOOKED_AT
        self._candidates = MAX_CANDIDATES

    def take_part(self, fields: int, depth: int) -> None:
        """Pay for a part, its fields and its depth."""
        self._parts -= 1
        self._fields -= fields
        if self._parts < 0 or self._fields < 0 or depth > MAX_NESTING:
            raise TooMuchError

    def take_look(self, octets: int) -> None:
        """Pay for a search through bytes."""
        self._looks -= octets
        if self._looks < 0:
            raise TooMuchError

    def take_candidate(self) -> None:
        """Pay for a line that may be a boundary."""
        self._candidates -= 1
        if self._candidates < 0:
            raise TooMuchError
