"""The entry point: it handles signals before it imports the rest of the package.

A server that is told to stop while it starts exits at once, with 0 or (SIGINT) 130. It needs a
handler for that: the kernel drops a signal for PID 1 of a container that has none.
"""

from __future__ import annotations

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
    from prixfixe.cli.main import main as run  # takes the longer part of a start

    return run()


def _end_on(number: int, code: int) -> None:
    signal.signal(number, lambda *_: os._exit(code))
