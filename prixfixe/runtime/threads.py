"""Daemon threads whose name the kernel knows: `top -H` and `ps -L` show it.

Before 3.14, Python keeps the name to itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start"]

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
        threading.Thread(target=named, name=name, daemon=True).start()
    except RuntimeError as error:
        remedy = "raise the limit on processes (--pids-limit of a container, ulimit -u)"
        msg = f"no further thread can be started; {remedy}"
        raise OSError(errno.EAGAIN, msg) from error


def _tell_kernel(name: str) -> None:
    with contextlib.suppress(AttributeError):  # Only Linux has prctl.
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
