"""Whose run made a thing: a text that tells later whether that process is still there."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

__all__ = ["is_gone", "me"]

_PROC = Path("/proc")


def me() -> str:
    """Return what tells this process from every other of this machine, also after a new start."""
    pid = os.getpid()
    return " ".join((socket.gethostname(), _boot(), _space(), str(pid), _began(pid)))


def is_gone(owner: str) -> bool:
    """Whether a process of this machine is known to have ended; of others nothing is known."""
    words = owner.split(" ")
    if len(words) != 5 or not words[3].isdigit() or words[0] != socket.gethostname():
        return False
    _, boot, space, pid, began = words
    if boot != _boot():
        return True
    if space != _space():  # the number means another process here
        return False
    return not _is_there(int(pid)) or _began(int(pid)) != began


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _boot() -> str:
    return _read("sys/kernel/random/boot_id") or "-"


def _space() -> str:
    with contextlib.suppress(OSError):
        return str((_PROC / "self/ns/pid").readlink()).replace(" ", "")
    return "-"


def _began(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; numbers of processes are used again."""
    fields = _read(f"{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else "-"


def _read(name: str) -> str:
    with contextlib.suppress(OSError):
        return (_PROC / name).read_text(encoding="ascii", errors="replace").strip()
    return ""
