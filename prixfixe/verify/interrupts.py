"""An interrupt ends a run between two steps, not between making a thing and noting it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["handle", "shielded"]


class _State:
    depth = 0
    is_pending = False


def handle(_number: int = 0, _frame: FrameType | None = None) -> None:
    """Raise KeyboardInterrupt, now or at the end of what is shielded; a handler of signals."""
    if _State.depth:
        _State.is_pending = True
        return
    raise KeyboardInterrupt


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Hold interrupts until the block has ended."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if _State.is_pending and not _State.depth:
            _State.is_pending = False
            raise KeyboardInterrupt
