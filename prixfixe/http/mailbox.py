"""Reading the store for HTTP: one thread, one reader, a cache of summaries.

Owns: the reading thread and what is remembered of messages (they never change).
Promises: the event loop never waits for a disk or a parser, nor does a server that stops; memory
for summaries is bounded.
Refuses: writing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from starlette.exceptions import HTTPException

from prixfixe.http import mailpit
from prixfixe.http.summaries import Listed, Summaries
from prixfixe.mail.mime import parse_message
from prixfixe.stores.base import DamagedError
from prixfixe.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.http.mailpit import Entry
    from prixfixe.message import Message
    from prixfixe.query import Query
    from prixfixe.stores.base import Reader, Totals

__all__ = ["Mailbox"]

CLOSE_SECONDS = 1.0  # for the reader; what the thread is at may take longer, and is left

T = TypeVar("T")


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

    async def get(self, message_id: str) -> Message | None:
        """Return a message; `latest` is the newest."""
        return await self._run(lambda: self._get(message_id))

    async def view(self, message_id: str, make: Callable[[Message], T]) -> T | None:
        """Return what `make` makes of a message, in the thread, or None without one."""

        def work() -> T | None:
            message = self._get(message_id)
            return None if message is None else make(message)

        return await self._run(work)

    async def page(self, start: int, limit: int) -> list[Entry]:
        """Return entries, newest first."""
        return await self._run(
            lambda: [
                one.entry for name in self._reader.ids(start, limit) if (one := self._summary(name))
            ]
        )

    async def search(self, query: Query, start: int, limit: int) -> tuple[list[Entry], int]:
        """Return a page of what matches, newest first, and how many do."""

        def work() -> tuple[list[Entry], int]:
            page, count = [], 0
            for entry in self._matching(query, self._reader.ids()):
                if start <= count < start + limit:
                    page.append(entry)
                count += 1
            return page, count

        return await self._run(work)

    async def matching_ids(self, query: Query) -> list[str]:
        """Return the ids of all messages that match."""
        return await self._run(
            lambda: [entry.id for entry in self._matching(query, self._reader.ids())]
        )

    async def match(self, query: Query, message_id: str) -> Entry | None:
        """Return the message's entry if it matches."""
        return await self._run(lambda: next(self._matching(query, [message_id]), None))

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

    def _get(self, message_id: str) -> Message | None:
        if message_id == "latest":
            message_id = next(iter(self._reader.ids(0, 1)), "")
        return self._reader.get(message_id) if message_id else None

    def _summary(self, message_id: str) -> Listed | None:
        known = self._summaries.get(message_id)
        if known is not None:
            return known
        message = self._whole(message_id)
        if message is None:
            return None
        parsed = parse_message(message.body)
        search = mailpit.searchable(message, parsed, with_body=False)
        summary = Listed(mailpit.entry(message, parsed), search)
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
                text = mailpit.searchable(message, parse_message(message.body))
            if query.matches(text):
                yield summary.entry
