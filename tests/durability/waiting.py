"""Waiting for something that will happen soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["DEADLINE", "until"]

T = TypeVar("T")
DEADLINE = 30.0


def until(condition: Callable[[], T], seconds: float = DEADLINE) -> T:
    """Look until something holds and return it; the last look when time is up."""
    end = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > end
        found = condition()
        if found or is_last:
            return found
        time.sleep(0.005)
