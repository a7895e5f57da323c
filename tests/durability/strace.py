"""Run strace to record system calls, or to make one of them fail, be late or kill the server.

It watches a server from its first call, or is attached to one thread while the others run at full
speed. Calls are counted from the moment `attached` yields.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["WATCHED", "attached", "inject", "is_in", "watching", "why_not"]

# All that can touch a file, and the ways around: io_uring, and syncs without a descriptor.
WATCHED = "trace=%file,%desc,%network,/^io_uring,/sync"
STRING_OCTETS = 1 << 22


@functools.cache
def why_not() -> str:
    """Return why strace cannot be used here, or nothing."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    command = [strace, "-f", "-o", os.devnull, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {done.stderr.strip()}" if done.returncode else ""


def watching(trace: Path) -> tuple[str, ...]:
    """Return what goes before a command to have every call of it written down."""
    return ("strace", "-f", "-s", str(STRING_OCTETS), "-o", str(trace), "-e", WATCHED)


def inject(call: str, fault: str, when: int | str = 1) -> tuple[str, ...]:
    """Return the rule that does harm to the `when`-th such call: signal=KILL, error=EIO, ..."""
    return ("-e", f"inject={call}:{fault}:when={when}")


# As the kernel numbers them, for looking at a thread that is held.
_NUMBERS = {
    "x86_64": {"openat": 257, "pwrite64": 18},
    "aarch64": {"openat": 56, "pwrite64": 68},
}


def is_in(task: int, call: str) -> bool:
    """Whether a thread is stopped in this call."""
    number = _NUMBERS[platform.machine()][call]
    return Path(f"/proc/{task}/syscall").read_text(encoding="ascii").startswith(f"{number} ")


@contextlib.contextmanager
def attached(task: int, *rules: str, trace: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Hold one thread by these rules; it runs free again afterwards, if it still runs."""
    output = str(trace or os.devnull)
    command = ["strace", "-s", "100", "-o", output, *rules, "-p", str(task)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "attached" in line, line + process.stderr.read()
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            process.communicate()
