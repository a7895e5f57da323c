"""Run a hook, and measure how long it keeps the event loop at a time."""

from __future__ import annotations

import asyncio
import inspect
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

__all__ = ["BLOCKED_SECONDS", "Watched", "start"]

BLOCKED_SECONDS: Final = 0.2


class Watched:
    """An awaitable call of a hook; `blocked` is told when one step took BLOCKED_SECONDS or more.

    The hook may be a coroutine function, or a plain function.
    """

    def __init__(self, call: Callable[[], Any], blocked: Callable[[float], None]) -> None:
        self._call = call
        self._blocked = blocked

    def _measure(self, work: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401
        began = perf_counter()
        try:
            return work(*args)
        finally:
            taken = perf_counter() - began
            if taken >= BLOCKED_SECONDS:
                self._blocked(taken)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Run the call step by step."""
        result = self._measure(self._call)
        if not inspect.isawaitable(result):
            return result
        steps = result.__await__()
        step: Callable[..., Any] = steps.__next__
        args: tuple[object, ...] = ()
        while True:
            try:
                waited = self._measure(step, *args)
            except StopIteration as done:
                return done.value
            try:
                answer = yield waited
            except BaseException as error:
                if not hasattr(steps, "throw"):
                    raise
                step, args = steps.throw, (error,)
            else:
                step, args = (steps.__next__, ()) if answer is None else (steps.send, (answer,))


def start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task, from Python 3.12 at once: a hook that does not wait then needs no turn."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
