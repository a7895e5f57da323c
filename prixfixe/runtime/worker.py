"""An executor with one thread, which is not joined when the interpreter ends.

Calls run in the order they were submitted. The thread is started at once, so that a process that
may start no more threads later still works.
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
    """A daemon thread and its queue of calls."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        threads.start(name, self._run)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """Queue a call."""
        future: Future[Any] = Future()
        self._queue.put((future, partial(fn, *args, **kwargs)))
        return future

    def give_up(self) -> None:
        """Cancel every call that has not started."""
        try:
            while (item := self._queue.get_nowait()) is not None:
                item[0].cancel()
        except Empty:
            return

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's
        """End the thread after its current call, without waiting for it."""
        self.give_up()
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            _do(*item)
            del item  # Drop the references while the thread waits.


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
        future.set_exception(error)
    else:
        future.set_result(result)
