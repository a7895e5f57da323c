"""The mail of a store, read message by message: for lists, and for searches without an index.

What is remembered of messages is bounded. A search looks at all mail, in a thread of its own: it
holds up no list, and ends with its client.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

from prixfixe.http.api import mailpit
from prixfixe.http.api.mailpit import Entry
from prixfixe.http.api.summaries import Listed, Summaries
from prixfixe.mail.mime import parse_message
from prixfixe.runtime.worker import Worker
from prixfixe.stores.base import DamagedError
from prixfixe.stores.index import SearchGivenUpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prixfixe.mail.message import Message
    from prixfixe.mail.query import Query
    from prixfixe.stores.base import Reader

__all__ = ["SlowSearching", "StoredMail"]

T = TypeVar("T")


def _never() -> bool:
    return False


class StoredMail:
    """One thread's reader of a store, opened when it is asked first."""

    def __init__(self, open_reader: Callable[[], Reader]) -> None:
        self._open = open_reader
        self._opened: Reader | None = None
        self._summaries = Summaries()

    @property
    def reader(self) -> Reader:
        """The reader."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def entry(self, name: str) -> Entry | None:
        """Return a message's entry in a list, or None where there is none to list."""
        summary = self._summary(name)
        return None if summary is None else summary.entry

    def matching(
        self, query: Query, ids: Iterable[str], is_given_up: Callable[[], bool] = _never
    ) -> Iterator[Entry]:
        """Yield the entries of those that match. Raises `SearchGivenUpError`."""
        for name in list(ids):
            if is_given_up():
                raise SearchGivenUpError
            entry = self._match(query, name)
            if entry is not None:
                yield entry

    def close(self) -> None:
        """Release the reader."""
        if self._opened is not None:
            self._opened.close()

    def _match(self, query: Query, name: str) -> Entry | None:
        summary = self._summary(name)
        if summary is None:
            return None
        text = summary.search
        if query.needs_text:
            message = self._whole(name)
            if message is None:
                return None
            text = mailpit.described(message).text
        return summary.entry if query.matches(text) else None

    def _summary(self, name: str) -> Listed | None:
        known = self._summaries.get(name)
        if known is not None:
            return known
        message = self._whole(name)
        if message is None:
            return None
        made = mailpit.taken_apart(message, parse_message(message.body), with_body=False)
        summary = Listed(Entry(message.id, made.record), made.text)
        self._summaries.add(summary)
        return summary

    def _whole(self, name: str) -> Message | None:
        try:
            return self.reader.get(name)
        except DamagedError:  # Listed nowhere, an error when asked for by its id.
            return None


class SlowSearching:
    """The thread that looks at all mail of a store without an index."""

    def __init__(self, open_reader: Callable[[], Reader]) -> None:
        self._mail = StoredMail(open_reader)
        self._thread = Worker("prixfixe-search")
        self._is_closing = threading.Event()

    async def ask(self, work: Callable[[StoredMail, Callable[[], bool]], T]) -> T:
        """Ask in the thread; `work` is told whether its caller is gone meanwhile."""
        is_gone = threading.Event()

        def is_given_up() -> bool:
            return is_gone.is_set() or self._is_closing.is_set()

        def asked() -> T:
            if is_given_up():
                raise SearchGivenUpError
            return work(self._mail, is_given_up)

        if self._is_closing.is_set():
            raise SearchGivenUpError
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, asked)
        except asyncio.CancelledError:
            is_gone.set()
            raise

    def close(self) -> None:
        """End the search that is under way, and the thread after it."""
        self._is_closing.set()
        self._thread.give_up()
        self._thread.submit(self._mail.close)
        self._thread.submit(self._thread.shutdown)
