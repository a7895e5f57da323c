"""The message data a session is taking in, and the memory that it may hold for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.smtp.data import ChunkReader, DataReader

if TYPE_CHECKING:
    Reader = DataReader | ChunkReader

__all__ = ["FREE_OCTETS", "BodyIntake"]

FREE_OCTETS = 65536  # held by a message without asking for memory: most mail never asks
STEP_OCTETS = 65536


class BodyIntake:
    """One body under way, of DATA or of a chunk of BDAT.

    `octets` counts all message data of the session. `is_starved` while memory was asked for and is
    not granted yet: until then the data stays in the session's input.
    """

    __slots__ = ("_asked", "_granted", "is_starved", "octets", "reader")

    def __init__(self) -> None:
        self.reader: Reader | None = None
        self.octets = 0
        self.is_starved = False
        self._granted = FREE_OCTETS
        self._asked = 0

    @property
    def has_extra_memory(self) -> bool:
        """Whether memory beyond FREE_OCTETS is held: the client owes data for it."""
        return self._granted > FREE_OCTETS

    @property
    def wants_nothing(self) -> bool:
        """Whether the body is a chunk that is complete without any more input."""
        return self.reader is not None and not self.reader.wanted

    def begin(self, reader: Reader) -> None:
        """Take what follows for message data."""
        self.reader = reader

    def next_piece(self, data: bytes, start: int) -> bytes:
        """Return the input up to the end of the chunk; where DATA ends only its reader can tell."""
        reader = self.reader
        if isinstance(reader, ChunkReader):
            return data[start : start + reader.wanted]
        return data[start:] if start else data

    def ask(self, octets: int) -> int:
        """Return how much memory to ask for so that this much may be held; 0 if it may be.

        From then on the intake is starved, until `grant`.
        """
        if octets <= self._granted or self.is_starved:
            return 0
        self._asked = -(-(octets - self._granted) // STEP_OCTETS) * STEP_OCTETS
        self.is_starved = True
        return self._asked

    def grant(self) -> None:
        """Hold what was asked for."""
        self._granted += self._asked
        self._asked = 0
        self.is_starved = False

    def feed(self, piece: bytes) -> bytes | None:
        """Take data; return what follows the body once that is complete, else None."""
        self.octets += len(piece)
        return b"" if self.reader is None else self.reader.feed(piece)

    def finish(self) -> Reader | None:
        """Return the reader of the body that is complete, and have none."""
        reader, self.reader = self.reader, None
        return reader

    def forget(self) -> bool:
        """Have no body; return whether memory must be given back."""
        self.reader = None
        is_holding = self.has_extra_memory or self.is_starved
        self._granted = FREE_OCTETS
        self._asked = 0
        self.is_starved = False
        return is_holding
