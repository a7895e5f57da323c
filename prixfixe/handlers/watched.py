"""Run a hook, and measure how long it keeps the event loop at a time."""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

__all__ = ["BLOCKED_SECONDS", "start", "watched"]

BLOCKED_SECONDS: Final = 0.2


@types.coroutine
def watched(
    call: Callable[[], Any], blocked: Callable[[float], None], waits: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """Call a hook, which may be a coroutine function or a plain one; return what it returns.

    `blocked` is told the seconds when one step took BLOCKED_SECONDS or more. `waits` is called
    when the hook waits for the first time: most hooks never do.
    """
    began = perf_counter()
    try:
        result = call()
        if type(result) is not types.CoroutineType and not inspect.isawaitable(result):
            return result
        steps = result.__await__()
        waited = next(steps)
    except StopIteration as done:
        return done.value
    finally:
        taken = perf_counter() - began
        if taken >= BLOCKED_SECONDS:
            blocked(taken)
    waits()
    return (yield from _rest(steps, waited, blocked))


def _rest(
    steps: Generator[Any, Any, Any], waited: object, blocked: Callable[[float], None]
) -> Generator[Any, Any, Any]:
    """Run a hook that waits, step by step."""
    while True:
        step: Callable[..., Any] = steps.__next__
        args: tuple[object, ...] = ()
        try:
            answer = yield waited
        except BaseException as error:
            if not hasattr(steps, "throw"):
                raise
            step, args = steps.throw, (error,)
        else:
            if answer is not None:
                step, args = steps.send, (answer,)
        began = perf_counter()
        try:
            waited = step(*args)
        except StopIteration as done:
            return done.value
        finally:
            taken = perf_counter() - began
            if taken >= BLOCKED_SECONDS:
                blocked(taken)


def start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task, from Python 3.12 at once: a hook that does not wait then needs no turn."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
