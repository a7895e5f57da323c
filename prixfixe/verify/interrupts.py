"""An interrupt ends a run between two steps, not between making a thing and noting it.

It reaches the main thread alone; `end` tells the others, and `pause` is how they wait.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Gate", "begin", "end", "handle", "is_over", "pause", "shielded"]


class _State:
    depth = 0
    is_pending = False
    is_over = threading.Event()


def handle(_number: int = 0, _frame: FrameType | None = None) -> None:
    """Raise KeyboardInterrupt, now or at the end of what is shielded; a handler of signals."""
    if _State.depth:
        _State.is_pending = True
        return
    raise KeyboardInterrupt


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Hold interrupts until the block has ended; other threads than the main one get none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if _State.is_pending and not _State.depth:
            _State.is_pending = False
            raise KeyboardInterrupt


def begin() -> None:
    """Let every thread go on; a run begins."""
    _State.is_over.clear()


def end() -> None:
    """Have every thread that pauses raise KeyboardInterrupt from now on."""
    _State.is_over.set()


def is_over() -> bool:
    """Whether `end` was called."""
    return _State.is_over.is_set()


def pause(seconds: float) -> None:
    """Wait; raise KeyboardInterrupt if the run is over."""
    if _State.is_over.wait(seconds):
        raise KeyboardInterrupt


class Gate:
    """What a run makes passes through it one by one, until it is shut."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_shut = False

    @contextlib.contextmanager
    def passed(self) -> Iterator[None]:
        """Make and note a thing; raise KeyboardInterrupt, and make nothing, if the run is over."""
        with self._lock:
            if self._is_shut:
                raise KeyboardInterrupt
            yield

    def shut(self) -> None:
        """Let nothing more be made; what is being made is noted first."""
        with self._lock:
            self._is_shut = True
