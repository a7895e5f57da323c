"""One thread that nobody has to wait for.

Owns: a thread and its queue: of the API's reading, of looking at changed files.
Promises: work is done in the order it came; the thread is there before anything is asked of it, so
that a process which may start no more threads still works; who closes does not wait for it, and
what it is at then ends with the process.
Refuses: knowing what the work is. Python's own pool is joined when the interpreter ends, however
long its threads take.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from prixfixe.runtime import threads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Worker"]


class Worker(Executor):
    """A thread and its queue."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        threads.start(name, self._run)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """Queue a call."""
        future: Future[Any] = Future()
        self._queue.put((future, partial(fn, *args, **kwargs)))
        return future

    def give_up(self) -> None:
        """Cancel every call that has not begun."""
        try:
            while (item := self._queue.get_nowait()) is not None:
                item[0].cancel()
        except Empty:
            return

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's
        """End the thread after the call it is at, without waiting for it."""
        self.give_up()
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            _do(*item)
            del item  # Nothing is held while the thread waits.


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        future.set_exception(error)
    else:
        future.set_result(result)
