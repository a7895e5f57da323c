"""The message data that a session is receiving, and the memory it may hold for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.smtp.data import ChunkReader, DataReader

if TYPE_CHECKING:
    Reader = DataReader | ChunkReader

__all__ = ["FREE_OCTETS", "BodyIntake"]

FREE_OCTETS = 65536  # that a message may hold without asking for memory: most mail fits
STEP_OCTETS = 65536


class BodyIntake:
    """The body being received, of DATA or of one chunk of BDAT.

    `octets` counts all message data of the session, in bytes. While memory is asked for and not yet
    granted, `is_starved` is true and the data stays in the session's input. `has_extra_memory`
    means that more than FREE_OCTETS is held, for which the client must send data.
    """

    __slots__ = ("_asked", "_granted", "has_extra_memory", "is_starved", "octets", "reader")

    def __init__(self) -> None:
        self.reader: Reader | None = None
        self.octets = 0
        self.is_starved = False
        self.has_extra_memory = False
        self._granted = FREE_OCTETS
        self._asked = 0

    def begin(self, reader: Reader) -> None:
        """Read the following input as message data."""
        self.reader = reader

    def next_piece(self, data: bytes, start: int) -> bytes:
        """Return the input from `start`, for BDAT at most to the end of the chunk."""
        reader = self.reader
        if isinstance(reader, ChunkReader):
            return data[start : start + reader.wanted]
        return data[start:] if start else data

    def ask(self, octets: int) -> int:
        """Return how many more bytes of memory are needed to hold `octets`, or 0 for none.

        If there are any, the intake is starved until `grant`.
        """
        if octets <= self._granted or self.is_starved:
            return 0
        self._asked = -(-(octets - self._granted) // STEP_OCTETS) * STEP_OCTETS
        self.is_starved = True
        return self._asked

    def grant(self) -> None:
        """Add the memory that was asked for."""
        self._granted += self._asked
        self.has_extra_memory = self._granted > FREE_OCTETS
        self._asked = 0
        self.is_starved = False

    def forget(self) -> bool:
        """Drop the body; return whether memory must be released."""
        self.reader = None
        is_holding = self.has_extra_memory or self.is_starved
        self._granted = FREE_OCTETS
        self._asked = 0
        self.is_starved = self.has_extra_memory = False
        return is_holding
