"""Group commit: one writer thread a store turns all waiting messages into one commit.

- `put` costs the event loop a future and an append; every blocking call runs in the thread.
- A group is bounded (`GroupLimits`) and stored or refused as a whole. If it fails, its messages are
  tried one by one. Its futures resolve through one `call_soon_threadsafe`.
- Calls are served in order, and `close` finishes every earlier `put`.

The queue has no limit of its own: it has at most one message per session, and the memory budget
counts their bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, TypeVar

from prixfixe.runtime import threads
from prixfixe.stores.base import StoreError, StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Probe, Recovery, StoreOptions

__all__ = ["Backend", "GroupLimits", "GroupStore"]

T = TypeVar("T")

# A dead disk can hold a system call for ever; the process must still end in its grace period.
CLOSE_SECONDS = 5.0
# How often retention by age looks at a store that nobody writes to.
IDLE_SECONDS = 60.0


class GroupLimits(NamedTuple):
    """The most a group may hold; it may exceed `bytes` by its last message."""

    messages: int
    bytes: int


class Backend(Protocol):
    """The blocking side of a technology. Every call comes from the one writer thread."""

    def open(self) -> Recovery:
        """Open, lock and recover. Raises `StoreOpenError`."""
        ...

    def commit(self, messages: Sequence[Message]) -> None:
        """Keep all of these durably, or none of them. Raises `StoreError`."""
        ...

    def delete(self, ids: Sequence[str] | None) -> int:
        """Delete these or all; return how many were there."""
        ...

    def probe(self) -> Probe:
        """Prove that a write would work. Raises `StoreError`."""
        ...

    def settle(self) -> bool:
        """Do a step of the housekeeping that no client should wait for; tell if more is due."""
        ...

    def close(self) -> None:
        """Release everything; called also after a failed open."""
        ...


_Put = tuple["Message", "asyncio.Future[None]"]


@dataclass(slots=True)
class _Call:
    """A call in the queue: it is served after every put before it."""

    op: str
    function: Callable[[], Any]
    future: asyncio.Future[Any]
    is_last: bool = False


class GroupStore:
    """A `Store` over a `Backend`: the thread, the queue, and the answers."""

    def __init__(self, backend: Backend, limits: GroupLimits, options: StoreOptions) -> None:
        self._backend = backend
        self._limits = limits
        self._on_operation = options.on_operation
        self._on_retry = options.on_retry
        self._idle_seconds = min(IDLE_SECONDS, options.max_age) if options.max_age else None
        self._queue: SimpleQueue[_Put | _Call] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held: _Call | None = None  # taken from the queue while a group was gathered
        self._is_unsettled = False
        self._is_open = False

    # --- the event loop's side

    async def open(self) -> Recovery:
        """Start the thread, open and recover. Raises `StoreOpenError`; open again to retry."""
        self._loop = asyncio.get_running_loop()
        threads.start("store-writer", self._run)
        try:
            recovery = await self._ask("open", self._backend.open)
        except BaseException:
            await self._stop()
            raise
        self._is_open = True
        return recovery

    def put(self, message: Message) -> asyncio.Future[None]:
        """Queue one message for the next group."""
        if not self._is_open:
            return _refused()
        future = self._loop.create_future()  # type: ignore[union-attr]  # set by open
        self._queue.put((message, future))
        return future

    async def delete(self, ids: Sequence[str] | None) -> int:
        """Delete these messages, or all of them; return how many were there."""
        return await self._when_open("delete", lambda: self._backend.delete(ids))

    async def probe(self) -> Probe:
        """Prove that a write would work now."""
        return await self._when_open("probe", self._backend.probe)

    async def close(self) -> None:
        """Commit what was put, then release; gives up on a disk that answers no more."""
        if self._is_open:
            self._is_open = False
            await self._stop()

    async def _when_open(self, op: str, function: Callable[[], T]) -> T:
        if not self._is_open:
            raise _not_open()
        return await self._ask(op, function)

    def _ask(
        self, op: str, function: Callable[[], T], *, is_last: bool = False
    ) -> asyncio.Future[T]:
        future = asyncio.get_running_loop().create_future()
        self._queue.put(_Call(op, function, future, is_last))
        return future

    async def _stop(self) -> None:
        # Nobody waits for the thread: what cannot be stopped does not stop the process from ending.
        with contextlib.suppress(TimeoutError, StoreError):
            await asyncio.wait_for(
                self._ask("close", self._backend.close, is_last=True), CLOSE_SECONDS
            )

    # --- the writer thread's side

    def _run(self) -> None:
        is_running = True
        while is_running:
            item = self._next()
            if isinstance(item, _Call):
                is_running = self._serve(item)
            elif item is not None:
                self._write(self._gather(item))
            del item  # a waiting thread must not keep a body alive
            if is_running:
                self._settle()

    def _settle(self) -> None:
        more, error = self._timed("settle", self._backend.settle)
        self._is_unsettled = bool(more) and error is None

    def _next(self) -> _Put | _Call | None:
        held, self._held = self._held, None
        if held is not None:
            return held
        try:
            return self._queue.get(timeout=0 if self._is_unsettled else self._idle_seconds)
        except Empty:
            return None

    def _gather(self, first: _Put) -> list[_Put]:
        group = [first]
        size = len(first[0].body)
        while len(group) < self._limits.messages and size < self._limits.bytes:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if isinstance(item, _Call):
                self._held = item
                break
            group.append(item)
            size += len(item[0].body)
        return group

    def _write(self, group: list[_Put]) -> None:
        _, error = self._timed("commit", lambda: self._backend.commit([put[0] for put in group]))
        if error is not None and len(group) > 1 and _blames_one(error):
            self._on_retry(error.kind)
            for put in group:
                self._write([put])
            return
        self._resolve([(put[1], None, error) for put in group])

    def _serve(self, call: _Call) -> bool:
        result, error = self._timed(call.op, call.function)
        self._resolve([(call.future, result, error)])
        return not call.is_last

    def _timed(self, op: str, function: Callable[[], T]) -> tuple[T | None, Exception | None]:
        """Run a blocking call; no exception may end the thread, whose waiters would hang."""
        began = time.perf_counter()
        result, error = None, None
        try:
            result = function()
        except (StoreError, StoreOpenError) as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  # the boundary of the thread
            text = f"{op}: {type(raised).__name__}: {raised}"
            error = StoreError(text, kind="internal")  # it may be the fault of a single message
            error.__cause__ = raised
        outcome = "ok" if error is None else getattr(error, "kind", "io")
        self._on_operation(op, time.perf_counter() - began, outcome)
        return result, error

    def _resolve(self, answers: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_answer, answers)  # type: ignore[union-attr]


def _blames_one(error: Exception) -> TypeGuard[StoreError]:
    return isinstance(error, StoreError) and error.kind in ("conflict", "internal")


def _answer(answers: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
    for future, result, error in answers:
        if future.done():  # its owner went away and cancelled it
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _refused() -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(_not_open())
    return future


def _not_open() -> StoreError:
    return StoreError("the store is not open", kind="closed")
