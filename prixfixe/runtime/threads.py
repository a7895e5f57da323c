"""Threads by name, for people and tools that look at the process from outside.

Owns: telling the kernel a thread's name: `top -H`, `ps -L` and /proc/PID/task/*/comm show it.
Promises: a thread that cannot be named runs all the same; none keeps the process from ending.
Refuses: what a thread does. Python names threads for itself alone before 3.14.
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

_PR_SET_NAME = 15  # of linux/prctl.h; the kernel keeps 15 octets of a name


def start(name: str, run: Callable[[], None]) -> None:
    """Start a thread that nobody waits for.

    Raises:
        OSError: the process may have no further one; the text names the remedy.

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
    with contextlib.suppress(AttributeError):  # Only Linux has it.
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
