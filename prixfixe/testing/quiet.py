"""A log that nobody reads."""

from __future__ import annotations

__all__ = ["Nowhere"]


class Nowhere:
    """A stream that takes everything and keeps nothing."""

    def write(self, text: str, /) -> int:
        """Take a text."""
        return len(text)

    def flush(self) -> None:
        """Do nothing."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return False
