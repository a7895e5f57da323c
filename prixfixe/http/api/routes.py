"""Mailpit's API, and two paths that Mailpit does not have.

A wait misses no message that is stored after the request arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.http.api import mailpit
from prixfixe.http.api.attempts import refused_instead
from prixfixe.http.api.change_request import read_change, tag_change, tag_name
from prixfixe.http.api.delete_request import named_ids
from prixfixe.http.api.mailbox import NOT_INDEXED, STEP_SECONDS
from prixfixe.http.api.runtime_stats import RuntimeStats
from prixfixe.http.api.tree import tree
from prixfixe.http.api.wait_condition import WaitCondition, time_of, wait_condition
from prixfixe.http.connection import connection_of
from prixfixe.http.pieces import cut, json_pieces
from prixfixe.http.responses import InPieces, Json, number, only, whole
from prixfixe.http.safe import json_octets
from prixfixe.http.shelf import Shelf
from prixfixe.mail.file_names import content_disposition
from prixfixe.mail.message import render, trace_headers
from prixfixe.mail.mime import header_fields, parse_message
from prixfixe.mail.query import parse_query
from prixfixe.stores.arrivals import ArrivalsClosedError, TooManyWaitersError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from starlette.requests import Request

    from prixfixe.http.api.feed import Feed
    from prixfixe.http.api.made import MadeAnswers
    from prixfixe.http.api.mailbox import Mailbox
    from prixfixe.http.api.mailpit import Listing
    from prixfixe.http.context import HttpContext
    from prixfixe.http.shelf import Loan
    from prixfixe.mail.message import Message
    from prixfixe.mail.query import Query
    from prixfixe.stores.arrivals import Subscription

__all__ = ["Api"]

MAX_WAIT_SECONDS = 300.0
MAX_LIMIT = 1000
MAX_START = 1_000_000_000
MAX_MILLISECONDS = 1 << 43  # the year 2248
# RFC 6838 4.2, and `'*%`: whatever else a sender writes there, HTTP may not take for a header.
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+'*%-]{1,127}/[A-Za-z0-9!#$&^_.+'*%-]{1,127}")
_UNKNOWN_TYPE = "application/octet-stream"
SEARCH_OCTETS = 8 * 1024 * 1024  # of pages that were found, and one more at most
# What a browser may run; a download keeps its name and content.
_ACTIVE_TYPES = frozenset(
    (
        *("text/html", "text/xml", "text/javascript", "text/ecmascript", "text/xsl"),
        *("application/xhtml+xml", "application/xml", "application/javascript"),
        *("application/ecmascript", "application/x-javascript", "application/mathml+xml"),
        *("application/x-shockwave-flash", "application/rdf+xml", "application/xslt+xml"),
        *("image/svg+xml", "multipart/x-mixed-replace", "multipart/related", "text/cache-manifest"),
    )
)
# A little more than true, in bytes.
_ITEM_OCTETS = 500  # an address in a list
_PART_OCTETS = 1500  # a part in a list, with its checksums

T = TypeVar("T")


class _Page(NamedTuple):
    """A page of a list as JSON, and how many messages the index did not have yet."""

    octets: bytes
    left_out: int


class _Download(NamedTuple):
    """A part without the message that it is of."""

    name: str
    content_type: str
    content: bytes


class Api:
    """Mailpit's read API, and two paths beyond it."""

    def __init__(
        self, context: HttpContext, mailbox: Mailbox, feed: Feed, made: MadeAnswers
    ) -> None:
        self._context = context
        self._mailbox = mailbox
        self._feed = feed
        self._shelf = Shelf()
        self._searches = Shelf(SEARCH_OCTETS)  # apart: a long search keeps no list waiting
        self._made = made
        self._stats = RuntimeStats(context.metrics)

    async def messages(self, request: Request) -> Response:
        """List, newest first."""
        only(request, "start", "limit", "before", "tz")
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        before = whole(request, "before", 0, MAX_MILLISECONDS)
        seconds = before / 1000 if before else None
        is_sure = await self._mailbox.can_list(seconds)

        def page() -> Awaitable[Listing]:
            return self._mailbox.page(start, limit, seconds, is_sure=is_sure)

        return await self._listed(request, self._shelf, page, start)

    async def delete(self, request: Request) -> Response:
        """Delete the messages named in `IDs`, or all of them without a body."""
        return await self._deleted(await named_ids(request))

    async def set_read(self, request: Request) -> Response:
        """Set the read state of the messages named in `IDs` or found by `Search`, or of all."""
        only(request, "tz")
        change = await read_change(request)
        ids = change.ids
        if change.search is not None:
            ids = await self._mailbox.matching_ids(_parsed(request, change.search))
        await self._mailbox.change(lambda catalog: catalog.mark(ids, is_read=change.is_read))
        self._feed.tell_of("read", ids, Read=change.is_read)
        return _ok()

    async def search(self, request: Request) -> Response:
        """List what matches, newest first; the search ends when its client is gone."""
        only(request, "query", "start", "limit", "tz")
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        query = _query(request)
        is_sure = await self._mailbox.can_search()  # No other search waits for that.

        def page() -> Awaitable[Listing]:
            return self._mailbox.search(query, start, limit, is_sure=is_sure)

        return await self._listed(request, self._searches, page, start)

    async def _listed(
        self, request: Request, shelf: Shelf, ask: Callable[[], Awaitable[Listing]], start: int
    ) -> Response:
        async def page() -> _Page:
            found = await ask()
            return _Page(mailpit.listing(found, start), found.left_out)

        loan = await shelf.lend(None, connection_of(request.scope), page, _page_octets)
        octets, left_out = loan.value
        answer = InPieces(cut([octets]), loan, Json.media_type, len(octets))
        if left_out:
            answer.headers["X-PrixFixe-Not-Indexed"] = str(left_out)
        return answer

    async def delete_found(self, request: Request) -> Response:
        """Delete what matches."""
        only(request, "query", "tz")
        return await self._deleted(await self._mailbox.matching_ids(_query(request)))

    async def _deleted(self, ids: list[str] | None) -> Response:
        try:
            self._stats.deleted += await self._context.store.delete(ids)
        finally:
            self._shelf.forget()
            self._mailbox.deleted()
            self._feed.tell_of("deleted", ids)
        return _ok()

    async def info(self, request: Request) -> Response:
        """Return version and totals."""
        only(request)
        totals = await self._mailbox.totals()
        return Json(
            {
                "Version": f"prixfixe {self._context.version}",
                "LatestVersion": "",
                "SMTP": self._context.smtp,
                "Database": self._context.store_kind,
                "DatabaseSize": totals.bytes,
                "Messages": totals.messages,
                "Unread": await self._mailbox.unread(totals.messages),
                "Tags": await self._mailbox.tags(),
                "RuntimeStats": self._stats.record(),
            }
        )

    async def webui(self, request: Request) -> Response:
        """Return what Mailpit's page is told: here is no relay and no spam filter."""
        only(request)
        relay = {
            "Enabled": False,
            "SMTPServer": "",
            "ReturnPath": "",
            "AllowedRecipients": "",
            "BlockedRecipients": "",
            "OverrideFrom": "",
            "PreserveMessageIDs": False,
        }
        return Json(
            {
                "Label": "",
                "MessageRelay": relay,
                "SpamAssassin": False,
                "ChaosEnabled": self._context.faults is not None,
                "DuplicatesIgnored": False,
                "HideDeleteAllButton": False,
            }
        )

    # --- tags

    async def tags(self, request: Request) -> Response:
        """Return all tags."""
        only(request)
        return Json(list(await self._mailbox.tags()))

    async def set_tags(self, request: Request) -> Response:
        """Give messages tags in the place of those they have."""
        only(request)
        ids, tags = await tag_change(request)
        await self._mailbox.change(lambda catalog: catalog.tag(ids, tags))
        self._feed.tell("reset")
        return _ok()

    async def rename_tag(self, request: Request) -> Response:
        """Rename a tag wherever it is."""
        only(request)
        new = await tag_name(request)
        await self._mailbox.change(lambda catalog: catalog.retag(request.path_params["tag"], new))
        return _ok()

    async def delete_tag(self, request: Request) -> Response:
        """Take a tag from all messages."""
        only(request)
        await self._mailbox.change(lambda catalog: catalog.retag(request.path_params["tag"], None))
        return _ok()

    # --- one message

    async def _id(self, request: Request, *also: str) -> str:
        """Return the id that is asked for; `latest` may be the newest that matches a query."""
        only(request, "query", "tz", *also)
        asked: str = request.path_params["id"]
        if asked != "latest" or not request.query_params.get("query"):
            return await self._mailbox.id_of(asked)
        query = _query(request)
        found, is_whole = await self._mailbox.newest(WaitCondition(query), 1)
        if not is_whole:  # An older one would be a wrong answer.
            raise HTTPException(503, NOT_INDEXED)
        return next(iter(found), "")

    async def lent(
        self,
        request: Request,
        kind: str,
        make: Callable[[Message], T],
        weigh: Callable[[T], int],
        *,
        also: tuple[str, ...] = (),
    ) -> Loan[T]:
        """Return what is made of a message once for all who look, or answer 404.

        `also` are parameters that the path takes beside those that name a message.
        """
        name = await self._id(request, *also)

        async def made() -> T:
            view = await self._mailbox.view(name, make)
            if view is None:
                raise HTTPException(404, "no such message")
            return view

        return await self._shelf.lend((kind, name), connection_of(request.scope), made, weigh)

    async def _lent_json(
        self, request: Request, kind: str, make: Callable[[Message], dict[str, Any]]
    ) -> Response:
        loan = await self.lent(request, kind, make, _weight)
        return InPieces(json_pieces(loan.value), loan, Json.media_type)

    async def message(self, request: Request) -> Response:
        """Return a message taken apart, and mark it as read."""
        loan = await self.lent(request, "detail", _detail, _weight)
        try:
            name, record = loan.value["ID"], loan.value
            said = await self._mailbox.said(name)
            if said.tags is not None:
                record = {**record, "Tags": list(said.tags)}
            if not said.is_read:
                await self._mark_read(name)
        except BaseException:
            loan.give_back()
            raise
        return InPieces(json_pieces(record), loan, Json.media_type)

    async def _mark_read(self, name: str) -> None:
        """Mark a message as read, unless the index is behind: whoever only reads does not wait."""
        with contextlib.suppress(HTTPException):
            mark = self._mailbox.change(
                lambda catalog: catalog.mark([name], is_read=True), STEP_SECONDS
            )
            await mark
            self._feed.tell_of("read", [name], Read=True)

    async def envelope(self, request: Request) -> Response:
        """Return what the SMTP session said."""
        return await self._lent_json(request, "envelope", mailpit.envelope)

    async def tree(self, request: Request) -> Response:
        """Return the MIME tree."""
        return await self._lent_json(request, "tree", tree)

    async def headers(self, request: Request) -> Response:
        """Return the header fields, each name with all its values."""
        return await self._lent_json(request, "headers", _headers)

    async def raw(self, request: Request) -> Response:
        """Return the message as a file, byte for byte."""
        loan = await self.lent(request, "raw", _raw, _length)
        kind = "text/plain; charset=utf-8"
        return InPieces(cut(loan.value), loan, kind, _length(loan.value))

    async def part(self, request: Request) -> Response:
        """Return one part's decoded content, as a download."""
        wanted = request.path_params["part"]
        loan = await self.lent(
            request, f"part {wanted}", lambda one: _part(one, wanted), lambda one: len(one.content)
        )
        kind, content = loan.value.content_type, loan.value.content
        is_safe = _TYPE.fullmatch(kind) and kind not in _ACTIVE_TYPES
        kind = kind if is_safe else _UNKNOWN_TYPE
        answer = InPieces(cut([content]), loan, kind, len(content))
        answer.headers["Content-Disposition"] = content_disposition(loan.value.name)
        return answer

    # --- waiting

    async def wait(self, request: Request) -> Response:
        """Answer as soon as `count` messages match, or 408 when the time is up."""
        only(request, "query", "to", "from", "subject", "since", "timeout", "count", "tz")
        condition = await self.condition(request)
        timeout = number(request, "timeout", 10, MAX_WAIT_SECONDS)
        count = max(1, whole(request, "count", 1, MAX_LIMIT))
        with self.waiting(request) as waiter:
            found = await self.gather(request, condition, count, timeout, waiter)
        if len(found) < count:
            text = f"{len(found)} of {count} messages came in {timeout:g} s"
            return await self.time_is_up(request, condition, {"Error": text})
        return await self.listed_ids(request, list(reversed(found)))

    async def listed_ids(self, request: Request, names: list[str], status: int = 200) -> Response:
        """Return a page of these messages."""
        page = await self._listed(request, self._shelf, lambda: self._mailbox.entries(names), 0)
        page.status_code = status
        return page

    @contextlib.contextmanager
    def waiting(self, request: Request) -> Iterator[Subscription]:
        """See what arrives while a request waits; or answer 503."""
        try:
            with self._context.arrivals.subscribe() as waiter:
                connection_of(request.scope).waits_for_mail = True
                yield waiter
        except TooManyWaitersError:
            raise HTTPException(503, "too many clients wait already") from None
        except ArrivalsClosedError:
            raise HTTPException(503, "the server is shutting down") from None

    async def time_is_up(
        self,
        request: Request,
        condition: WaitCondition,
        more: dict[str, Any],
        status: int = 408,
    ) -> Response:
        """Return that what was asked for is not there, and what is, and what was refused."""
        stored = (await self._mailbox.counts()).messages
        recent = self._context.attempts.recent()

        def made() -> bytes:
            refused = refused_instead(recent, condition)
            return json_octets({**more, "Stored": stored, "Refused": refused})

        return await self._made.json(request, made, status)

    async def condition(self, request: Request) -> WaitCondition:
        """Return what a request waits for; or answer 400."""
        condition = wait_condition(request)
        since = request.query_params.get("since", "")
        if not since:
            return condition
        name = await self._mailbox.id_of(since)
        place = await self._mailbox.view(name, lambda one: (one.received_at, one.id))
        return condition.after(place or time_of(since))

    async def gather(
        self,
        request: Request,
        condition: WaitCondition,
        count: int,
        seconds: float,
        waiter: Subscription,
    ) -> dict[str, None]:
        """Collect ids of matches, oldest first: those there are, then those that come."""
        deadline = asyncio.get_running_loop().time() + seconds
        found, is_whole = await self._there(condition)
        while len(found) < count:
            catching_up = None if is_whole else self._mailbox.catch_up(_left(deadline))
            arrived = await _arrived_or_gone(request, waiter, deadline, catching_up)
            if arrived is None:
                break
            if waiter.take_missed() or not arrived:  # Look at all again.
                more, is_whole = await self._there(condition)
                found |= more
                continue
            for message_id in arrived:
                entry = await self._mailbox.match(condition.query, message_id)
                if entry is not None and condition.takes(entry):
                    found[message_id] = None
        return found

    async def _there(self, condition: WaitCondition) -> tuple[dict[str, None], bool]:
        """Return the ids of the newest there are, oldest first; and whether all were looked at."""
        there, is_whole = await self._mailbox.newest(condition, MAX_LIMIT)
        return dict.fromkeys(reversed(there)), is_whole


def _ok() -> Response:
    return Response(b"ok", media_type="text/plain")


def _page_octets(page: _Page) -> int:
    return len(page.octets)


def _detail(message: Message) -> dict[str, Any]:
    return mailpit.detail(message, parse_message(message.body))


def _headers(message: Message) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in header_fields(render(message)):
        # Mailpit is written in Go, whose canonical names its clients look for.
        canonical = "-".join(word.capitalize() for word in name.split("-"))
        found.setdefault(canonical, []).append(value)
    return found


def _raw(message: Message) -> tuple[bytes, bytes]:
    return trace_headers(message), message.body


def _part(message: Message, wanted: str) -> _Download:
    for part in parse_message(message.body).parts:
        if part.number == wanted:
            return _Download(part.name, part.content_type, part.content)
    raise HTTPException(404, "no such part")


def _length(parts: tuple[bytes, ...]) -> int:
    return sum(map(len, parts))


def _weight(record: dict[str, Any]) -> int:
    """Return about how many bytes a record takes; its long texts are most of it."""
    return sum(
        (_PART_OCTETS if name in ("Inline", "Attachments") else _ITEM_OCTETS) * len(value)
        if isinstance(value, list)
        else getsizeof(value)
        for name, value in record.items()
    )


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())


async def _arrived_or_gone(
    request: Request,
    waiter: Subscription,
    deadline: float,
    catching_up: Coroutine[Any, Any, bool] | None,
) -> list[str] | None:
    """Return what arrived next, nothing when the index caught up; None when it is over."""
    arrival = asyncio.ensure_future(waiter.arrived())
    gone = asyncio.ensure_future(_gone(request))
    tasks: list[asyncio.Future[Any]] = [arrival, gone]
    if catching_up is not None:
        tasks.append(asyncio.ensure_future(catching_up))
    try:
        left = _left(deadline)
        await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            gone.result()  # A request that has no end ends the wait.
        if arrival.done():
            return arrival.result()
        return [] if tasks[-1] is not gone and tasks[-1].done() else None
    finally:
        for task in tasks:
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _query(request: Request) -> Query:
    return _parsed(request, request.query_params.get("query", ""))


def _parsed(request: Request, text: str) -> Query:
    return parse_query(text, request.query_params.get("tz", ""))
