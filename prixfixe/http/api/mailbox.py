"""Reading the store for HTTP: one thread, one reader, a cache of summaries.

Owns: the reading thread and what is remembered of messages (they never change).
Promises: the event loop never waits for a disk or a parser, nor does a server that stops; memory
for summaries is bounded.
Refuses: writing.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from starlette.exceptions import HTTPException

from prixfixe.http.api import mailpit
from prixfixe.http.api.summaries import Summaries
from prixfixe.mail.mime import parse_message
from prixfixe.mail.summary import searchable_body
from prixfixe.runtime.worker import Worker
from prixfixe.stores.base import DamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prixfixe.http.api.mailpit import Entry, Summary
    from prixfixe.mail.message import Message
    from prixfixe.mail.query import Query
    from prixfixe.stores.base import Reader, Totals

__all__ = ["Mailbox"]

PAGE_OCTETS = 4 * 1024 * 1024  # of records in one answer: a thousand usual ones are 0.5 MiB
CLOSE_SECONDS = 1.0  # for the reader; what the thread is at may take longer, and is left

T = TypeVar("T")


class _Page:
    """The entries of one answer, as many as it may hold; the first is always among them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._octets = 0
        self._is_full = False

    def add(self, entry: Entry) -> bool:
        """Take the next entry if there is room for it."""
        self._octets += len(entry.record)
        self._is_full |= bool(self.entries) and self._octets > PAGE_OCTETS
        if not self._is_full:
            self.entries.append(entry)
        return not self._is_full


class Mailbox:
    """The messages of a store as HTTP asks for them; every coroutine works in the thread."""

    def __init__(self, open_reader: Callable[[], Reader]) -> None:
        self._open = open_reader
        self._opened: Reader | None = None
        self._thread = Worker("prixfixe-read")
        self._summaries = Summaries()
        self.is_stopping = False

    def _asked(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._asked(work)
        except asyncio.CancelledError:
            if self.is_stopping:  # Who asked waited too long for that; it is no defect.
                raise HTTPException(503, "the server is shutting down") from None
            raise

    @property
    def _reader(self) -> Reader:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    async def totals(self) -> Totals:
        """Return the counts of what is kept."""
        return await self._run(lambda: self._reader.totals())  # noqa: PLW0108 - opened in the thread

    async def id_of(self, name: str) -> str:
        """Return the id that is meant: `latest` is the newest, "" without one."""
        if name != "latest":
            return name
        return await self._run(lambda: next(iter(self._reader.ids(0, 1)), ""))

    async def view(self, message_id: str, make: Callable[[Message], T]) -> T | None:
        """Return what `make` makes of a message, in the thread, or None without one."""

        def work() -> T | None:
            message = self._reader.get(message_id) if message_id else None
            return None if message is None else make(message)

        return await self._run(work)

    async def page(self, start: int, limit: int) -> list[Entry]:
        """Return entries, newest first."""
        return await self._run(lambda: self._entries(self._reader.ids(start, limit)))

    async def entries(self, ids: list[str]) -> list[Entry]:
        """Return the entries of these messages, as far as they are there."""
        return await self._run(lambda: self._entries(ids))

    async def search(self, query: Query, start: int, limit: int) -> tuple[list[Entry], int]:
        """Return a page of what matches, newest first, and how many do."""

        def work() -> tuple[list[Entry], int]:
            page, count = _Page(), 0
            for entry in self._matching(query, self._reader.ids()):
                if start <= count < start + limit:
                    page.add(entry)
                count += 1
            return page.entries, count

        return await self._run(work)

    async def matching_ids(self, query: Query, limit: int | None = None) -> list[str]:
        """Return the ids of all messages that match, or of the newest of them."""

        def work() -> list[str]:
            matching = self._matching(query, self._reader.ids())
            return [entry.id for entry in islice(matching, limit)]

        return await self._run(work)

    async def match(self, query: Query, message_id: str) -> bool:
        """Whether the message matches."""
        return await self._run(lambda: any(self._matching(query, [message_id])))

    async def close(self) -> None:
        """Give up what was asked, release the reader and end the thread, unless it is busy."""
        self._thread.give_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._asked(self._release)
        self._thread.shutdown()

    # --- in the thread

    def _release(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _entries(self, ids: Iterable[str]) -> list[Entry]:
        page = _Page()
        for name in ids:
            summary = self._summary(name)
            if summary is not None and not page.add(summary.entry):
                break
        return page.entries

    def _summary(self, message_id: str) -> Summary | None:
        known = self._summaries.get(message_id)
        if known is not None:
            return known
        message = self._whole(message_id)
        if message is None:
            return None
        summary = mailpit.summarise(message, parse_message(message.body))
        self._summaries.add(summary)
        return summary

    def _whole(self, message_id: str) -> Message | None:
        try:
            return self._reader.get(message_id)
        except DamagedError:  # Listed nowhere, an error when asked for by its id.
            return None

    def _matching(self, query: Query, ids: object) -> Iterator[Entry]:
        for message_id in list(ids):  # type: ignore[call-overload]
            summary = self._summary(message_id)
            if summary is None:
                continue
            text = summary.search
            if query.needs_text:
                message = self._whole(message_id)
                if message is None:
                    continue
                text = text._replace(text=searchable_body(parse_message(message.body)))
            if query.matches(text):
                yield summary.entry
