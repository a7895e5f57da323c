"""The entry point: it installs signal handlers before it imports the rest of the package.

A server that is stopped during its start exits at once, with 0 or, for SIGINT, 130. The kernel
drops signals without a handler for PID 1 of a container.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

__all__ = ["main"]

_ENDS = ((signal.SIGTERM, 0), (signal.SIGINT, 130))


def main() -> int:
    """Run the command line; return the exit code."""
    if sys.argv[1:2] in ([], ["serve"]):
        for number, code in _ENDS:
            _end_on(number, code)
        gc.disable()  # until the server is ready: it would take a twentieth of the start
    from prixfixe.cli.main import main as run  # takes the longer part of a start

    return run()


def _end_on(number: int, code: int) -> None:
    signal.signal(number, lambda *_: os._exit(code))
