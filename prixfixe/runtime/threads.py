"""Daemon threads whose name the kernel knows: `top -H` and `ps -L` show it.

Before 3.14, Python keeps the name to itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start", "started_by"]

# Each thread that lives, and the thread that started it.
_starters: weakref.WeakKeyDictionary[threading.Thread, threading.Thread] = (
    weakref.WeakKeyDictionary()
)
_PR_SET_NAME = 15  # of linux/prctl.h; the kernel uses at most 15 bytes of a name


def start(name: str, run: Callable[[], None]) -> None:
    """Start a daemon thread.

    Raises:
        OSError: the process may start no more threads; the text names the remedy.

    """

    def named() -> None:
        _tell_kernel(name)
        run()

    try:
        thread = threading.Thread(target=named, name=name, daemon=True)
        thread.start()
    except RuntimeError as error:
        remedy = "raise the limit on processes (--pids-limit of a container, ulimit -u)"
        msg = f"no further thread can be started; {remedy}"
        raise OSError(errno.EAGAIN, msg) from error
    _starters[thread] = threading.current_thread()


def started_by(starter: threading.Thread) -> list[threading.Thread]:
    """Return the threads that a thread started here and that still live."""
    return [one for one, by in list(_starters.items()) if by is starter and one.is_alive()]


def _tell_kernel(name: str) -> None:
    with contextlib.suppress(AttributeError):  # Only Linux has prctl.
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
