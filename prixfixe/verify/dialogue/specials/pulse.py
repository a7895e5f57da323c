"""Find out whether this client process was paused while it measured a server's timeout.

A special that failed during such a pause is played again, ten times at most. Only a pause of this
process excuses a failure; nothing that the server did is an excuse.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from prixfixe.verify.dialogue.wire import ClosedError

if TYPE_CHECKING:
    from prixfixe.verify.dialogue.servers import Target

__all__ = ["undisturbed"]

Special = Callable[["Target"], None]
PLAYS = 10
BEAT_SECONDS = 0.02


class Pulse:
    """A thread that should run every 20 ms; `longest` is how long it could not."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def _beat(self) -> None:
        before = time.monotonic()
        while not self._is_over.wait(BEAT_SECONDS):
            before = self._note(before)
        self._note(before)

    def _note(self, before: float) -> float:
        now = time.monotonic()
        self.longest = max(self.longest, now - before)
        return now

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._is_over.set()
        self._thread.join()


def undisturbed(seconds: float) -> Callable[[Special], Special]:
    """Play a special again if it failed and this process stood still for that long in it.

    Who does so is idle in a server's eyes, or has missed what it came to see: it shows nothing.
    """

    def wrap(special: Special) -> Special:
        @functools.wraps(special)
        def play(target: Target) -> None:
            for left in reversed(range(PLAYS)):
                with Pulse() as pulse:
                    failure = _failure_of(special, target)
                if failure is None:
                    break
                if pulse.longest < seconds or not left:
                    raise failure

        return play

    return wrap


def _failure_of(special: Special, target: Target) -> Exception | None:
    try:
        special(target)
    except (AssertionError, ClosedError, TimeoutError) as error:
        return error
    return None
