"""A thread that reads the index: a search in it holds up no list, and ends with its client."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, TypeVar

from prixfixe.runtime.worker import Worker
from prixfixe.stores.base import StoreError
from prixfixe.stores.index import SearchGivenUpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.stores.index import Index, IndexReader

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

    def begin(self) -> None:
        """Forget that something was given up."""
        if self._opened is not None:
            self._opened.begin()

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


class _Search:
    """One search: whether its client is gone."""

    def __init__(self) -> None:
        self.is_given_up = False


class Searching:
    """The thread, and the search it is at."""

    def __init__(self, index: Index) -> None:
        self._view = IndexView(index)
        self._thread = Worker("prixfixe-search")
        self._lock = threading.Lock()  # no search ends the next one
        self._at: _Search | None = None

    async def ask(self, work: Callable[[IndexReader], T]) -> T:
        """Ask the index in the thread; when the caller is cancelled, so is the search."""
        search = _Search()
        asked = asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._searched(search, work)
        )
        try:
            return await asked
        except asyncio.CancelledError:
            self._give_up(search)
            raise

    def _give_up(self, search: _Search) -> None:
        with self._lock:
            search.is_given_up = True
            if self._at is search:
                self._view.give_up()

    def _searched(self, search: _Search, work: Callable[[IndexReader], T]) -> T:
        self._begin(search)
        try:
            return self._view.ask(work)
        finally:
            with self._lock:
                self._at = None

    def _begin(self, search: _Search) -> None:
        with self._lock:
            if search.is_given_up:
                raise SearchGivenUpError
            self._view.begin()
            self._at = search

    def close(self) -> None:
        """End the search that is under way, and the thread after it."""
        self._view.give_up()
        self._thread.give_up()
        self._thread.submit(self._view.close)
        self._thread.submit(self._thread.shutdown)
