"""Keep the index in step with its store: one thread that reads the store and writes the index.

While mail comes fast it waits, unless somebody asks; so it takes nothing from those who send. A
question that waits for `in_step` sees all that was kept before it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from prixfixe.runtime import threads
from prixfixe.stores.base import Arrival, StoreError, StoreOpenError
from prixfixe.stores.index.catalog import Catalog
from prixfixe.stores.index.file import IndexFile, is_damage
from prixfixe.stores.index.search import IndexReader
from prixfixe.stores.index.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Followed, State
    from prixfixe.stores.index.catalog import Described

__all__ = ["Index", "IndexOptions", "Progress"]

T = TypeVar("T")

BUSY_RATE = 200.0  # messages a second; a server that takes more has no time for the index
LOOK_SECONDS = 0.1  # between two looks at how busy the server is
CALM_SECONDS = 0.5  # without so much mail, until the server is no longer busy: senders pause
RETRY_SECONDS = 5.0  # after trouble with the store or the disk
FEED = 1000  # messages whose words are fed in one transaction, at most
PURGE = 128  # messages whose words are taken out in one
CLOSE_SECONDS = 2.0
# The index stops while less than this is free beyond the store's reserve.
SPARE_BYTES = 64 << 20
# Without a reserve it stops while less than this is free.
LEAST_BYTES = 4 << 20
_ARRIVED = 10_000  # that are remembered by name; the others are found by looking


def _ignore(_event: str, **_fields: object) -> None:
    """Take the place of a log nobody reads."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What an index is made for.

    `open_reader` and `describe` are called in its thread; `version` is of what `describe` makes:
    an index of another one is built again. `min_free` is the store's reserve in bytes. `say` is
    called in its thread with events of the log.
    """

    open_reader: Callable[[], Followed]
    describe: Callable[[Message], Described]
    version: str
    path: Path | None = None
    min_free: int = 0
    say: Callable[..., None] = _ignore


class Progress(NamedTuple):
    """How far the index is; `trouble` says in a word why it does not go on."""

    messages: int
    unfed: int
    is_in_step: bool
    trouble: str


class Index:
    """The thread and its questions. Made and asked in an event loop."""

    def __init__(self, options: IndexOptions) -> None:
        self._options = options
        self._file = IndexFile(options.path)
        self._asked: deque[tuple[Callable[[Catalog], Any], Future[Any]]] = deque()
        self._arrived: deque[Arrival] = deque(maxlen=_ARRIVED)
        self._count = 0  # messages that arrived
        self._is_named = True  # unless the reader is in the order of arrival
        self._wakeup, self._urgent = threading.Event(), threading.Event()
        self._is_closing = self._is_in_step = self._is_doubted = False
        self._ended: Future[None] = Future()
        self._steps: Steps | None = None
        self._trouble = self._damage = ""
        self._busy = _Busy()
        self.generation = 0  # of the file: readers of an older one have to be opened anew

    @property
    def synced(self) -> State | None:
        """The state of the store that is in the index."""
        steps = self._steps
        return None if steps is None or self._is_doubted else steps.synced

    @property
    def progress(self) -> Progress:
        """How far it is."""
        steps = self._steps
        if steps is None:
            return Progress(0, 0, is_in_step=False, trouble=self._trouble)
        catalog = steps.catalog
        is_in_step = self._is_in_step and not (self._trouble or steps.is_behind)
        return Progress(catalog.messages, catalog.unfed, is_in_step, self._trouble)

    # --- the event loop's side

    def start(self) -> None:
        """Start. Raises `OSError`: the process may have no further thread."""
        threads.start("prixfixe-index", self._run)

    def arrived(self, message: Message) -> None:
        """Note a message that is kept."""
        self._count += 1
        if self._is_named:
            self._arrived.append(Arrival(message.id, message.received_at, len(message.body)))
        if not self._wakeup.is_set():
            self._wakeup.set()

    def changed(self) -> None:
        """Note that messages were taken away: what is known of the store is doubtful."""
        self._is_doubted = True
        self._wakeup.set()

    async def in_step(self, seconds: float) -> bool:
        """Wait until all that is kept now is in the index; tell whether it is."""
        try:
            return await self.ask(lambda _catalog: True, seconds)
        except (TimeoutError, StoreError):
            return False

    async def ask(self, work: Callable[[Catalog], T], seconds: float = 10.0) -> T:
        """Do something in the thread, once the index is in step.

        Raises:
            TimeoutError: it is not in step in time.
            StoreError: it cannot be.

        """
        future: Future[T] = Future()
        self._asked.append((work, future))
        self._urgent.set()
        self._wakeup.set()
        if self._is_closing:
            raise StoreError("the index is closed", kind="closed")
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)

    def reading(self) -> IndexReader:
        """Open a reader; in any thread. Raises `sqlite3.Error`."""
        return IndexReader(self._file)

    def report(self, error: sqlite3.Error, generation: int) -> None:
        """Take a reader's error: what is damaged is built again."""
        if generation == self.generation and is_damage(error, is_reading=True):
            self._damage = str(error)
            self._wakeup.set()

    def bytes(self) -> int:
        """Return what the index takes on disk."""
        return self._file.bytes()

    async def close(self) -> None:
        """End the thread; give up on a disk that does not answer."""
        self._is_closing = True
        self._urgent.set()
        self._wakeup.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self._ended), CLOSE_SECONDS)

    # --- the thread's side

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._wakeup.clear()
                self._pause(more=self._turn())
        finally:
            self._let_go()
            self._file.close()
            self._ended.set_result(None)

    def _turn(self) -> bool:
        """Do a piece of work; tell whether more is due."""
        self._urgent.clear()
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        try:
            more = self._work([future for _work, future in asked])
        except (StoreError, StoreOpenError, sqlite3.Error, OSError) as error:
            if self._met(error):  # They wait for the new one.
                self._asked.extendleft(reversed(asked))
                return True
            more = True
        self._answer(asked)
        return more

    def _work(self, asked: list[Future[Any]]) -> bool:
        self._check_room()
        if self._damage:
            damage, self._damage = self._damage, ""
            raise sqlite3.DatabaseError(damage)
        steps = self._opened()
        if not asked and not self._is_calm():
            self._is_in_step = False
            self._trouble = ""  # both can be opened: it is only behind
            return True
        if self._is_doubted:
            self._is_doubted = False
            steps.doubt()
        self._is_in_step = steps.follow(self._taken(), lambda: self._may_go_on(asked))
        self._trouble = ""
        if asked or not self._is_in_step:
            return True
        catalog = steps.catalog
        fed = catalog.feed(FEED, self._has_time)
        return bool(fed or catalog.purge(PURGE) or self._asked)

    def _may_go_on(self, asked: list[Future[Any]]) -> bool:
        """Whether somebody waits, or nobody would be kept waiting."""
        if self._is_closing:
            return False
        if any(not future.cancelled() for future in asked):
            return True
        return self._has_time()

    def _has_time(self) -> bool:
        """Whether nobody waits for an answer, and mail does not come fast."""
        return self._is_unasked() and self._is_calm()

    def _is_unasked(self) -> bool:
        return not self._urgent.is_set()

    def _answer(self, asked: list[tuple[Callable[[Catalog], Any], Future[Any]]]) -> None:
        for work, future in asked:
            if not future.set_running_or_notify_cancel():
                continue
            if self._trouble or self._steps is None or not self._is_in_step:
                future.set_exception(StoreError(self._trouble or "the index is behind"))
                continue
            try:
                future.set_result(work(self._steps.catalog))
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                future.set_exception(error)

    def _taken(self) -> list[Arrival]:
        return [self._arrived.popleft() for _ in range(len(self._arrived))]

    def _is_calm(self) -> bool:
        return not self._busy.is_busy(self._count)

    def _pause(self, *, more: bool) -> None:
        if self._is_closing or self._asked:
            return
        if self._trouble:
            self._urgent.wait(RETRY_SECONDS)
        elif more and not self._is_calm():
            self._urgent.wait(LOOK_SECONDS)
        elif not more:
            self._wakeup.wait()
            self._urgent.wait(LOOK_SECONDS)  # More may come, and they share a transaction.

    # --- the file

    def _opened(self) -> Steps:
        if self._steps is None:
            catalog = Catalog(self._file.writing(self._options.version))
            try:
                reader = self._options.open_reader()
            except BaseException:
                catalog.close()
                raise
            self._is_named = not reader.is_in_order_of_arrival
            self._steps = Steps(catalog, reader, self._options.describe)
        return self._steps

    def _let_go(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            with contextlib.suppress(sqlite3.Error, StoreError, OSError):
                steps.close()

    def _check_room(self) -> None:
        """Give way before mail is refused. Raises `StoreError`."""
        folder = self._file.folder
        if folder is None:
            return
        stat = os.statvfs(folder)
        free, reserve = stat.f_bavail * stat.f_frsize, self._options.min_free
        wanted = reserve + SPARE_BYTES if reserve else LEAST_BYTES
        if free < wanted:
            raise StoreError(f"{free} bytes free, {wanted} wanted", kind="full")

    def _met(self, error: Exception) -> bool:
        """Do what an error asks for; tell whether a new index is begun, else wait a while."""
        self._is_in_step = False
        if is_damage(error) and self._is_rebuilt(str(error)):
            return True
        trouble = "no room" if getattr(error, "kind", "") == "full" else "a disk error"
        if trouble != self._trouble:
            self._options.say("index stopped", reason=f"{trouble}: {error}")
        self._trouble = trouble
        self._let_go()
        return False

    def _is_rebuilt(self, reason: str) -> bool:
        """Begin anew; tell whether that can be done."""
        self._let_go()
        try:
            self._file.remove()
        except OSError:
            return False
        self.generation += 1
        self._options.say("index rebuilt", reason=reason)
        return True


class _Busy:
    """How fast messages come, from their number now and then."""

    def __init__(self) -> None:
        self._at, self._count, self._until = time.monotonic(), 0, float("-inf")

    def is_busy(self, count: int) -> bool:
        """Whether more came lately than leaves time for the index."""
        now = time.monotonic()
        if now - self._at >= LOOK_SECONDS:
            # After a quiet time what came is taken to have come lately: a burst begins.
            seconds = min(now - self._at, 2 * LOOK_SECONDS)
            if count - self._count > BUSY_RATE * seconds:
                self._until = now + CALM_SECONDS
            self._at, self._count = now, count
        return now < self._until
