"""Reading the store and its index for HTTP.

The event loop never waits for a disk or a parser, nor does a server that stops. Memory for
summaries is bounded, and so is what one page holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from starlette.exceptions import HTTPException

from prixfixe.http.api import mailpit
from prixfixe.http.api.index_threads import IndexView, Searching
from prixfixe.http.api.mailpit import Listing
from prixfixe.http.api.stored_mail import SlowSearching, StoredMail
from prixfixe.http.pieces import PAGE_OCTETS, Page
from prixfixe.mail.query import Query, Term
from prixfixe.runtime.worker import Worker
from prixfixe.stores.base import StoreError
from prixfixe.stores.index import Counts, SearchGivenUpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.http.api.mailpit import Entry
    from prixfixe.http.api.wait_condition import WaitCondition
    from prixfixe.mail.message import Message
    from prixfixe.stores.base import Reader, Totals
    from prixfixe.stores.index import Index, IndexReader
    from prixfixe.stores.index.catalog import Catalog

__all__ = ["NOT_INDEXED", "STEP_SECONDS", "Mailbox"]

NOT_INDEXED = "not all messages are indexed yet; try again"

STEP_SECONDS = 2.0  # that a question waits for the index to have all there is
CHANGE_SECONDS = 10.0
_LOOKED_UP = 32  # entries that are asked of the index at once
CLOSE_SECONDS = 1.0  # for the reader; what the thread is at may take longer, and is left

T = TypeVar("T")


class Said(NamedTuple):
    """What people say of a message; tags are None where they are as the message came."""

    is_read: bool
    tags: tuple[str, ...] | None


class Mailbox:
    """The messages of a store as HTTP asks for them; every coroutine works in a thread.

    Lists come from the index where it is in step with the store, else from the store. Searches have
    a thread of their own: they ask the index, or look at all mail where there is none.
    """

    def __init__(self, open_reader: Callable[[], Reader], index: Index | None = None) -> None:
        self._mail = StoredMail(open_reader)
        self._thread = Worker("prixfixe-read")
        self._index = index
        self._view = None if index is None else IndexView(index)
        self._searching = None if index is None else Searching(index)
        self._slow = SlowSearching(open_reader) if index is None else None
        self.is_stopping = False

    def _asked(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _run(self, work: Callable[[], T]) -> T:
        with self._explained():
            return await self._asked(work)

    async def _searched(self, searching: Searching, work: Callable[[IndexReader], T]) -> T:
        with self._explained():
            return await searching.ask(work)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Answer 503 for what is given up because the server stops: it is no defect."""
        try:
            yield
        except (asyncio.CancelledError, SearchGivenUpError):
            if self.is_stopping:
                raise HTTPException(503, "the server is shutting down") from None
            raise

    async def _looked(self, work: Callable[[StoredMail, Callable[[], bool]], T]) -> T:
        """Look at all mail; there is no index."""
        if self._slow is None:
            raise RuntimeError("expected no index")
        with self._explained():
            return await self._slow.ask(work)

    @property
    def _reader(self) -> Reader:
        return self._mail.reader

    async def totals(self) -> Totals:
        """Return the counts of what is kept."""
        return await self._run(lambda: self._reader.totals())  # noqa: PLW0108 - opened in the thread

    async def unread(self, total: int) -> int:
        """Return how many of so many messages are not read."""
        return await self._run(lambda: self._unread(total))

    async def counts(self) -> Counts:
        """Return how many messages there are, and how many of them are not read."""
        return await self._run(self._counts)

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

    async def said(self, message_id: str) -> Said:
        """Return the read state and the tags of a message."""
        return await self._run(lambda: self._said(message_id))

    async def can_list(self, before: float | None = None) -> bool:
        """Whether the index has all that is kept now; waits for it where only it can list."""
        if self._index is None or (before is None and await self._run(self._is_in_order)):
            return False
        return await self.can_search()

    async def page(
        self, start: int, limit: int, before: float | None = None, *, is_sure: bool = False
    ) -> Listing:
        """Return a page of all messages, newest first; `before` is a time in seconds.

        `is_sure` is what `can_list` said. Without `before` the store can list too.
        """
        if self._index is None and before is not None:
            earlier = Query((Term("after", before, is_negated=True),))
            return await self._looked(_slow_page(earlier, start, limit))

        def work() -> Listing:
            page = self._indexed_page(start, limit, before, is_sure=is_sure)
            if page is None and before is not None:
                raise HTTPException(503, NOT_INDEXED)
            return page or self._stored_page(start, limit)

        return await self._run(work)

    async def entries(self, ids: list[str]) -> Listing:
        """Return a page of these messages, as far as they are there."""

        def work() -> Listing:
            total, unread = self._counts()
            return Listing(self._entries(ids), total, unread, len(ids), len(ids))

        return await self._run(work)

    async def can_search(self) -> bool:
        """Whether the index has all that is kept now; waits for it, a while."""
        index = self._index
        if index is None or await self._run(self._is_in_step):
            return True
        return await index.in_step(STEP_SECONDS)

    async def search(self, query: Query, start: int, limit: int, *, is_sure: bool) -> Listing:
        """Return a page of what matches, newest first; `is_sure` is what `can_search` said."""
        if self._index is None or self._searching is None:
            return await self._looked(_slow_page(query, start, limit))
        kept = 0 if is_sure else (await self.totals()).messages
        with contextlib.suppress(StoreError):
            found, counts, all_counts, tags = await self._searched(
                self._searching,
                lambda index: (
                    *index.search(query, start, limit, PAGE_OCTETS),
                    index.counts(),
                    index.tags(),
                ),
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
            return await self._looked(
                lambda mail, is_over: [
                    entry.id for entry in mail.matching(query, mail.reader.ids(), is_over)
                ]
            )
        if not await self.can_search():
            raise HTTPException(503, NOT_INDEXED)
        return await self._searched(self._searching, lambda index: index.matching(query))

    async def newest(self, condition: WaitCondition, limit: int) -> tuple[list[str], bool]:
        """Return the ids of the newest that meet it, newest first, and whether all were looked at.

        Where fields are compared exactly, `limit` bounds what is compared.
        """
        if self._index is None or self._searching is None:
            return await self._looked(_slow_newest(condition, limit)), True
        is_sure = await self.can_search()
        takes = condition.takes if condition.looks_at_entries else None
        with contextlib.suppress(StoreError):
            return await self._searched(
                self._searching, lambda index: index.newest(condition.query, limit, takes)
            ), is_sure
        if is_sure:
            raise HTTPException(503, "the index cannot be read now")
        return [], False

    async def match(self, query: Query, message_id: str) -> Entry | None:
        """Return the message's entry if it matches."""
        return await self._run(lambda: next(self._mail.matching(query, [message_id]), None))

    async def catch_up(self, seconds: float) -> bool:
        """Wait until a search can look at all that is kept."""
        return self._index is None or await self._index.in_step(seconds)

    async def change(self, work: Callable[[Catalog], T], seconds: float = CHANGE_SECONDS) -> T:
        """Change what people say of messages: read state and tags."""
        if self._index is None:
            raise HTTPException(501, "this store keeps no read state and no tags")
        try:
            return await self._index.ask(work, seconds)
        except (TimeoutError, StoreError):
            raise HTTPException(503, NOT_INDEXED) from None

    async def tags(self) -> dict[str, int]:
        """Return all tags and how many messages have each."""
        if self._searching is None or not await self.can_search():
            return {}
        return await self._searched(self._searching, lambda index: index.tags())

    def deleted(self) -> None:
        """Note that messages were taken out of the store."""
        if self._index is not None:
            self._index.changed()

    async def close(self) -> None:
        """Give up what was asked, release the reader and end the thread, unless it is busy."""
        for searching in (self._searching, self._slow):
            if searching is not None:
                searching.close()
        self._thread.give_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._asked(self._release)
        self._thread.shutdown()

    # --- the index

    def _is_in_order(self) -> bool:
        return bool(getattr(self._reader, "is_in_order_of_arrival", False))

    def _is_in_step(self) -> bool:
        state = getattr(self._reader, "state", None)
        return state is not None and self._index is not None and state() == self._index.synced

    def _indexed_page(
        self, start: int, limit: int, before: float | None, *, is_sure: bool
    ) -> Listing | None:
        """Return a page from the index, or None where it does not have all."""
        if self._view is None or not (is_sure or self._is_in_step()):
            return None
        return self._asked_index(lambda index: _page_of(index, start, limit, before))

    def _asked_index(self, work: Callable[[IndexReader], T]) -> T | None:
        """Return what the index answers, or None where there is none or it cannot be read."""
        if self._view is not None:
            with contextlib.suppress(StoreError):
                return self._view.ask(work)
        return None

    def _stored_page(self, start: int, limit: int) -> Listing:
        """Return a page as the store has it; what the index does not know is looked at here."""
        entries = self._entries(list(self._reader.ids(start, limit)))
        total = self._reader.totals().messages
        unread = self._unread(total)
        return Listing(entries, total, unread, total, unread)

    def _entries(self, names: list[str]) -> list[Entry]:
        """Return the entries of these messages, as many as a page holds."""
        page: Page[Entry] = Page(PAGE_OCTETS)
        for at in range(0, len(names), _LOOKED_UP):
            some = names[at : at + _LOOKED_UP]
            known = self._known(some)
            for name in some:
                entry = known.get(name) or self._mail.entry(name)
                if entry is not None:
                    page.add(entry, len(entry.record))
                if page.is_full:
                    return page.entries
        return page.entries

    def _known(self, names: list[str]) -> dict[str, Entry]:
        found = self._asked_index(lambda index: index.entries(names)) or {}
        return {name: mailpit.shown(one) for name, one in found.items()}

    def _counts(self) -> Counts:
        # A Maildir counts by reading its folders; the index knows as of its last look.
        counts = None if self._is_in_order() else self._asked_index(lambda index: index.counts())
        if counts is not None:
            return counts
        total = self._reader.totals().messages
        return Counts(total, self._unread(total))

    def _unread(self, total: int) -> int:
        counts = self._asked_index(lambda index: index.counts())
        return total if counts is None else max(0, total - (counts.messages - counts.unread))

    def _said(self, message_id: str) -> Said:
        entries = self._asked_index(lambda index: index.entries([message_id])) or {}
        found = entries.get(message_id)
        return Said(is_read=False, tags=None) if found is None else Said(found.is_read, found.tags)

    # --- in the thread

    def _release(self) -> None:
        if self._view is not None:
            self._view.close()
        self._mail.close()


def _slow_page(
    query: Query, start: int, limit: int
) -> Callable[[StoredMail, Callable[[], bool]], Listing]:
    def work(mail: StoredMail, is_over: Callable[[], bool]) -> Listing:
        page: Page[Entry] = Page(PAGE_OCTETS)
        count = 0
        for entry in mail.matching(query, mail.reader.ids(), is_over):
            if start <= count < start + limit:
                page.add(entry, len(entry.record))
            count += 1
        total = mail.reader.totals().messages
        return Listing(page.entries, total, total, count, count)

    return work


def _slow_newest(
    condition: WaitCondition, limit: int
) -> Callable[[StoredMail, Callable[[], bool]], list[str]]:
    def work(mail: StoredMail, is_over: Callable[[], bool]) -> list[str]:
        matching = mail.matching(condition.query, mail.reader.ids(), is_over)
        return [entry.id for entry in islice(filter(condition.takes, matching), limit)]

    return work


def _page_of(index: IndexReader, start: int, limit: int, before: float | None) -> Listing:
    counts = index.counts()
    entries = [mailpit.shown(one) for one in index.page(start, limit, before, PAGE_OCTETS)]
    return Listing(entries, *counts, *counts, tuple(index.tags()))
