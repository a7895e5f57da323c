"""A log that nobody reads, and Python's logging as it was before a library changed it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Nowhere", "unchanged_logging"]

_LIBRARIES = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")


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


@contextmanager
def unchanged_logging() -> Iterator[None]:
    """Undo what uvicorn does to loggers and names of levels while it is set up.

    Its loggers are silenced for that time too: a test that captures logs must not see them.
    """
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [(one.level, one.propagate, list(one.handlers), one.disabled) for one in loggers]
    trace = logging.getLevelName(5)
    for one in loggers:
        one.disabled = True
    try:
        yield
    finally:
        for one, (level, propagate, handlers, is_disabled) in zip(loggers, before, strict=True):
            one.setLevel(level)
            one.propagate, one.handlers, one.disabled = propagate, handlers, is_disabled
        if trace == "Level 5":
            _forget_level(5, "TRACE")


def _forget_level(level: int, name: str) -> None:
    logging._levelToName.pop(level, None)  # noqa: SLF001 - logging has no way to take one back
    logging._nameToLevel.pop(name, None)  # noqa: SLF001 - see above
