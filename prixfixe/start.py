"""The way in: what comes before all other imports.

Owns: signals until the server has its own handlers, and what a server must not import.
Promises: a server that is told to stop while it starts ends at once, with 0, or 130 for SIGINT;
what it acknowledged by then is kept, as ever. The kernel drops a signal for PID 1 of a container
that has no handler.
Refuses: the signals of other commands, which are not done when they are ended.
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
        # structlog takes rich where it finds it: more than all else of it, for what is never drawn.
        sys.modules["rich"] = None  # type: ignore[assignment]
    from prixfixe.cli import main as run  # takes the longer part of a start

    return run()


def _end_on(number: int, code: int) -> None:
    signal.signal(number, lambda *_: os._exit(code))
