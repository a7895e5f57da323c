"""Reading the store and its index for HTTP.

The event loop never waits for a disk or a parser, nor does a server that stops. Memory for
summaries is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from starlette.exceptions import HTTPException

from prixfixe.http import mailpit
from prixfixe.http.mailpit import Listing
from prixfixe.http.searching import IndexView, Searching
from prixfixe.http.summaries import Listed, Summaries
from prixfixe.index import Counts, IndexReader
from prixfixe.mail.mime import parse_message
from prixfixe.stores.base import DamagedError, StoreError
from prixfixe.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.http.mailpit import Entry
    from prixfixe.index import Index
    from prixfixe.index.catalog import Catalog
    from prixfixe.message import Message
    from prixfixe.query import Query
    from prixfixe.stores.base import Reader, Totals

__all__ = ["Mailbox"]

STEP_SECONDS = 2.0  # that a question waits for the index to have all there is
CHANGE_SECONDS = 10.0
_IN_STATEMENT = 500
CLOSE_SECONDS = 1.0  # for the reader; what the thread is at may take longer, and is left

T = TypeVar("T")


class Said(NamedTuple):
    """What people say of a message; tags are None where they are as the message came."""

    is_read: bool
    tags: tuple[str, ...] | None


class Mailbox:
    """The messages of a store as HTTP asks for them; every coroutine works in a thread.

    Lists come from the index where it is in step with the store, else from the store. Searches ask
    the index, in a thread of their own; without an index they look at all mail.
    """

    def __init__(self, open_reader: Callable[[], Reader], index: Index | None = None) -> None:
        self._open = open_reader
        self._opened: Reader | None = None
        self._thread = Worker("prixfixe-read")
        self._summaries = Summaries()
        self._index = index
        self._view = None if index is None else IndexView(index)
        self._searching = None if index is None else Searching(index)
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

    async def unread(self, total: int) -> int:
        """Return how many of so many messages are not read."""
        return await self._run(lambda: self._unread(total))

    async def counts(self) -> Counts:
        """Return how many messages there are, and how many of them are not read."""
        return await self._run(self._counts)

    async def get(self, message_id: str) -> Message | None:
        """Return a message; `latest` is the newest."""
        return await self._run(lambda: self._get(message_id))

    async def view(self, message_id: str, make: Callable[[Message], T]) -> T | None:
        """Return what `make` makes of a message, in the thread, or None without one."""

        def work() -> T | None:
            message = self._get(message_id)
            return None if message is None else make(message)

        return await self._run(work)

    async def said(self, message_id: str) -> Said:
        """Return the read state and the tags of a message."""
        return await self._run(lambda: self._said(message_id))

    async def page(self, start: int, limit: int, before: float | None = None) -> Listing:
        """Return a page of all messages, newest first; `before` is a time in seconds."""
        page = await self._run(lambda: self._indexed_page(start, limit, before, is_sure=False))
        if page is None and before is None and self._is_in_order_of_arrival():
            page = await self._run(lambda: self._stored_page(start, limit))
        if page is None and self._index is not None:
            is_sure = await self._index.in_step(STEP_SECONDS)
            page = await self._run(
                lambda: self._indexed_page(start, limit, before, is_sure=is_sure)
            )
        if page is None:
            page = await self._run(lambda: self._stored_page(start, limit))
        return page

    async def search(self, query: Query, start: int, limit: int) -> Listing:
        """Return a page of what matches, newest first."""
        if self._index is None or self._searching is None:
            return await self._run(lambda: self._slow_search(query, start, limit))
        is_sure = await self._is_sure()
        kept = await self._run(lambda: self._kept(is_sure=is_sure))
        with contextlib.suppress(StoreError):
            found, counts, all_counts, tags = await self._searching.ask(
                lambda index: (*index.search(query, start, limit), index.counts(), index.tags())
            )
            left_out = 0 if is_sure else max(1, kept - all_counts.messages)
            total = max(all_counts.messages, kept)
            unread = total - (all_counts.messages - all_counts.unread)
            entries = [mailpit.shown(one) for one in found]
            return Listing(entries, total, unread, *counts, tuple(tags), left_out)
        if is_sure:
            raise HTTPException(503, "the index cannot be read now")
        return Listing([], kept, kept, 0, 0, (), kept)

    async def matching_ids(self, query: Query) -> list[str]:
        """Return the ids of all messages that match; 503 while not all can be looked at."""
        if self._index is None or self._searching is None:
            return await self._run(
                lambda: [entry.id for entry in self._matching(query, self._reader.ids())]
            )
        if not await self._is_sure():
            raise HTTPException(503, "not all messages are indexed yet; try again")
        return await self._searching.ask(lambda index: index.matching(query))

    async def match(self, query: Query, message_id: str) -> Entry | None:
        """Return the message's entry if it matches."""
        return await self._run(lambda: next(self._matching(query, [message_id]), None))

    async def catch_up(self, seconds: float) -> bool:
        """Wait until a search can look at all that is kept."""
        return self._index is None or await self._index.in_step(seconds)

    async def change(self, work: Callable[[Catalog], T]) -> T:
        """Change what people say of messages: read state and tags."""
        if self._index is None:
            raise HTTPException(501, "this store keeps no read state and no tags")
        try:
            return await self._index.ask(work, CHANGE_SECONDS)
        except (TimeoutError, StoreError):
            raise HTTPException(503, "not all messages are indexed yet; try again") from None

    async def tags(self) -> dict[str, int]:
        """Return all tags and how many messages have each."""
        if self._searching is None or not await self._is_sure():
            return {}
        return await self._searching.ask(lambda index: index.tags())

    def deleted(self) -> None:
        """Note that messages were taken out of the store."""
        if self._index is not None:
            self._index.changed()

    async def close(self) -> None:
        """Give up what was asked, release the reader and end the thread, unless it is busy."""
        if self._searching is not None:
            self._searching.close()
        self._thread.give_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._asked(self._release)
        self._thread.shutdown()

    # --- the index

    async def _is_sure(self) -> bool:
        """Whether the index has all that is kept now; waits for it, a while."""
        index = self._index
        if index is None or await self._run(self._is_in_step):
            return True
        return await index.in_step(STEP_SECONDS)

    def _is_in_order_of_arrival(self) -> bool:
        return bool(getattr(self._opened, "is_in_order_of_arrival", False))

    def _is_in_step(self) -> bool:
        state = getattr(self._reader, "state", None)
        return state is not None and self._index is not None and state() == self._index.synced

    def _kept(self, *, is_sure: bool) -> int:
        """Return how many messages are kept, for who has not looked at all."""
        return 0 if is_sure else self._reader.totals().messages

    def _indexed_page(
        self, start: int, limit: int, before: float | None, *, is_sure: bool
    ) -> Listing | None:
        """Return a page from the index, or None where it does not have all."""
        if self._view is None or not (is_sure or self._is_in_step()):
            return None
        with contextlib.suppress(StoreError):
            return self._view.ask(lambda index: _page_of(index, start, limit, before))
        return None

    def _stored_page(self, start: int, limit: int) -> Listing:
        """Return a page as the store has it; what the index does not know is looked at here."""
        names = list(self._reader.ids(start, limit))
        known = self._known(names)
        entries = [
            known.get(name) or (summary.entry if (summary := self._summary(name)) else None)
            for name in names
        ]
        total = self._reader.totals().messages
        unread = self._unread(total)
        return Listing([one for one in entries if one], total, unread, total, unread)

    def _known(self, names: list[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        if self._view is not None:
            with contextlib.suppress(StoreError):
                for at in range(0, len(names), _IN_STATEMENT):
                    some = names[at : at + _IN_STATEMENT]
                    entries = self._view.ask(partial(IndexReader.entries, ids=some))
                    found |= {name: mailpit.shown(one) for name, one in entries.items()}
        return found

    def _counts(self) -> Counts:
        # A Maildir counts by reading its folders; the index knows as of its last look.
        if self._view is not None and not getattr(self._reader, "is_in_order_of_arrival", False):
            with contextlib.suppress(StoreError):
                return self._view.ask(lambda index: index.counts())
        total = self._reader.totals().messages
        return Counts(total, self._unread(total))

    def _unread(self, total: int) -> int:
        if self._view is not None:
            with contextlib.suppress(StoreError):
                counts = self._view.ask(lambda index: index.counts())
                return max(0, total - (counts.messages - counts.unread))
        return total

    def _said(self, message_id: str) -> Said:
        if self._view is not None:
            with contextlib.suppress(StoreError):
                found = self._view.ask(lambda index: index.entries([message_id])).get(message_id)
                if found is not None:
                    return Said(found.is_read, found.tags)
        return Said(is_read=False, tags=None)

    # --- in the thread

    def _release(self) -> None:
        if self._view is not None:
            self._view.close()
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

    def _slow_search(self, query: Query, start: int, limit: int) -> Listing:
        page, count = [], 0
        for entry in self._matching(query, self._reader.ids()):
            if start <= count < start + limit:
                page.append(entry)
            count += 1
        total = self._reader.totals().messages
        return Listing(page, total, total, count, count)

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


def _page_of(index: IndexReader, start: int, limit: int, before: float | None) -> Listing:
    counts = index.counts()
    entries = [mailpit.shown(one) for one in index.page(start, limit, before)]
    return Listing(entries, *counts, *counts, tuple(index.tags()))
