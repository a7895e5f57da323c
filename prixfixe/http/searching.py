"""A thread that reads the index: a search in it holds up no list, and ends with its client."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, TypeVar

from prixfixe.index import SearchGivenUpError
from prixfixe.stores.base import StoreError
from prixfixe.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.index import Index, IndexReader

__all__ = ["IndexView", "Searching"]

T = TypeVar("T")


class IndexView:
    """One thread's reader of the index, opened anew when the index was begun anew."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._opened: IndexReader | None = None
        self._generation = -1

    def ask(self, work: Callable[[IndexReader], T]) -> T:
        """Ask the index, in the thread.

        Raises:
            StoreError: it cannot be read now.
            SearchGivenUpError: `give_up` was called meanwhile.

        """
        try:
            return work(self._reader())
        except sqlite3.Error as error:
            self._index.report(error, self._generation)
            self.close()
            raise StoreError(f"index: {error}") from error

    def give_up(self) -> None:
        """End what is asked; from any thread."""
        reader = self._opened
        if reader is not None:
            reader.give_up()

    def close(self) -> None:
        """Close the reader; the next question opens another."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _reader(self) -> IndexReader:
        if self._generation != self._index.generation:
            self.close()
        if self._opened is None:
            self._generation = self._index.generation
            self._opened = self._index.reading()
        return self._opened


class Searching:
    """The thread, and the search it is at."""

    def __init__(self, index: Index) -> None:
        self._view = IndexView(index)
        self._thread = Worker("prixfixe-search")
        self._at: asyncio.Future[object] | None = None

    async def ask(self, work: Callable[[IndexReader], T]) -> T:
        """Ask the index in the thread; when the caller is cancelled, so is the search."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.run_in_executor(
            self._thread, lambda: self._begun(future, work)
        )
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.cancel()  # What has not begun never does.
            if self._at is future:
                self._view.give_up()
            raise

    def _begun(self, future: asyncio.Future[T], work: Callable[[IndexReader], T]) -> T:
        self._at = future  # type: ignore[assignment]
        try:
            if future.cancelled():
                raise SearchGivenUpError
            return self._view.ask(work)
        finally:
            self._at = None

    def close(self) -> None:
        """End the search that is under way, and the thread after it."""
        self._view.give_up()
        self._thread.give_up()
        self._thread.submit(self._view.close)
        self._thread.submit(self._thread.shutdown)
