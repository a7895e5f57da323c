"""Mailpit's read API, and two paths beyond it.

Owns: lists, searches, single messages, deleting, and waiting for mail.
Promises: a wait misses nothing that is kept after it was asked.
Refuses: reading stores (see `mailbox`), shaping records (see `mailpit`) and understanding what is
to be deleted (see `named`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.arrivals import ArrivalsClosedError, TooManyWaitersError
from prixfixe.http import mailpit
from prixfixe.http.answers import Json, number, only, whole
from prixfixe.http.asked import asked_name, asked_state, asked_tags
from prixfixe.http.mailpit import Listing
from prixfixe.http.named import named_ids
from prixfixe.http.wanted import time_of, wanted_of
from prixfixe.mail.file_names import content_disposition
from prixfixe.mail.mime import header_fields, parse_message
from prixfixe.message import render
from prixfixe.query import parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.requests import Request

    from prixfixe.arrivals import Subscription
    from prixfixe.http.mailbox import Mailbox
    from prixfixe.http.mailpit import Entry
    from prixfixe.http.server import HttpContext
    from prixfixe.http.wanted import Wanted
    from prixfixe.mail.mime import Part
    from prixfixe.message import Message
    from prixfixe.query import Query

__all__ = ["Api"]

T = TypeVar("T")

MAX_WAIT_SECONDS = 300.0
MAX_LIMIT = 1000
MAX_START = 1_000_000_000
MAX_MILLISECONDS = 1 << 43  # the year 2248
# RFC 6838 4.2, and `'*%`: whatever else a sender writes there, HTTP may not take for a header.
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+'*%-]{1,127}/[A-Za-z0-9!#$&^_.+'*%-]{1,127}")
_UNKNOWN_TYPE = "application/octet-stream"
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


class Api:
    """Mailpit's read API, and two paths beyond it."""

    def __init__(self, context: HttpContext, mailbox: Mailbox) -> None:
        self._context = context
        self._mailbox = mailbox
        self._since = time.monotonic()

    async def messages(self, request: Request) -> Response:
        """List, newest first."""
        only(request, "start", "limit", "before", "tz")
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        before = whole(request, "before", 0, MAX_MILLISECONDS)
        page = await self._mailbox.page(start, limit, before / 1000 if before else None)
        return _page(page, start)

    async def delete(self, request: Request) -> Response:
        """Delete the messages named in `IDs`, or all of them without a body."""
        await self._delete(await named_ids(request))
        return Response(b"ok", media_type="text/plain")

    async def set_read(self, request: Request) -> Response:
        """Set the read state of the messages named in `IDs` or found by `Search`, or of all."""
        only(request, "tz")
        asked = await asked_state(request)
        ids = asked.ids
        if asked.search is not None:
            ids = await self._mailbox.matching_ids(_parsed(request, asked.search))
        await self._mailbox.change(lambda catalog: catalog.mark(ids, is_read=asked.is_read))
        return Response(b"ok", media_type="text/plain")

    async def search(self, request: Request) -> Response:
        """List what matches, newest first; the search ends when its client is gone."""
        only(request, "query", "start", "limit", "tz")
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        searching = self._mailbox.search(_query(request), start, limit)
        page = await _unless_gone(request, searching)
        return _page(page, start)

    async def delete_found(self, request: Request) -> Response:
        """Delete what matches."""
        only(request, "query", "tz")
        await self._delete(await self._mailbox.matching_ids(_query(request)))
        return Response(b"ok", media_type="text/plain")

    async def _delete(self, ids: list[str] | None) -> None:
        await self._context.store.delete(ids)
        self._mailbox.deleted()

    async def info(self, request: Request) -> Response:
        """Return version and totals."""
        only(request)
        totals = await self._mailbox.totals()
        return Json(
            {
                "Version": f"prixfixe {self._context.version}",
                "LatestVersion": "",
                "Database": self._context.store_kind,
                "DatabaseSize": totals.bytes,
                "Messages": totals.messages,
                "Unread": await self._mailbox.unread(totals.messages),
                "Tags": await self._mailbox.tags(),
                "RuntimeStats": {"Uptime": int(time.monotonic() - self._since)},
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
        ids, tags = await asked_tags(request)
        await self._mailbox.change(lambda catalog: catalog.tag(ids, tags))
        return Response(b"ok", media_type="text/plain")

    async def rename_tag(self, request: Request) -> Response:
        """Rename a tag wherever it is."""
        only(request)
        new = await asked_name(request)
        await self._mailbox.change(lambda catalog: catalog.retag(request.path_params["tag"], new))
        return Response(b"ok", media_type="text/plain")

    async def delete_tag(self, request: Request) -> Response:
        """Take a tag from all messages."""
        only(request)
        await self._mailbox.change(lambda catalog: catalog.retag(request.path_params["tag"], None))
        return Response(b"ok", media_type="text/plain")

    # --- one message

    async def _id(self, request: Request) -> str:
        """Return the id that is asked for; `latest` may be the newest that matches a query."""
        only(request, "query", "tz")
        asked: str = request.path_params["id"]
        if asked != "latest" or not request.query_params.get("query"):
            return asked
        found = await self._mailbox.search(_query(request), 0, 1)
        return found.entries[0].id if found.entries else ""

    async def _view(self, request: Request, make: Callable[[Message], Any]) -> Any:  # noqa: ANN401
        view = await self._mailbox.view(await self._id(request), make)
        if view is None:
            raise HTTPException(404, "no such message")
        return view

    async def message(self, request: Request) -> Response:
        """Return a message taken apart, and mark it as read."""
        name: str = await self._view(request, lambda one: one.id)
        said = await self._mailbox.said(name)
        if not said.is_read:
            # A client that only reads is not kept waiting by an index that is behind.
            with contextlib.suppress(HTTPException):
                await self._mailbox.change(lambda catalog: catalog.mark([name], is_read=True))
        view = await self._mailbox.view(name, lambda one: _detail(one, said.tags))
        if view is None:
            raise HTTPException(404, "no such message")
        return Response(view, media_type=Json.media_type)

    async def envelope(self, request: Request) -> Response:
        """Return what the SMTP session said."""
        return Json(await self._view(request, mailpit.envelope))

    async def headers(self, request: Request) -> Response:
        """Return the header fields, each name with all its values."""
        found: dict[str, list[str]] = {}
        for name, value in await self._view(request, lambda one: header_fields(render(one))):
            # Mailpit is written in Go, whose canonical names its clients look for.
            canonical = "-".join(word.capitalize() for word in name.split("-"))
            found.setdefault(canonical, []).append(value)
        return Json(found)

    async def raw(self, request: Request) -> Response:
        """Return the message as a file, octet for octet."""
        return Response(await self._view(request, render), media_type="text/plain")

    async def part(self, request: Request) -> Response:
        """Return one part's decoded content, as a download."""
        wanted = request.path_params["part"]
        found = await self._view(request, lambda one: (_part(one, wanted),))
        if found[0] is None:
            raise HTTPException(404, "no such part")
        part, content = found[0]
        kind = part.content_type
        is_safe = _TYPE.fullmatch(kind) and kind not in _ACTIVE_TYPES
        headers = {
            "Content-Type": kind if is_safe else _UNKNOWN_TYPE,
            "Content-Disposition": content_disposition(part.name),
        }
        return Response(content, headers=headers)

    # --- waiting

    async def wait(self, request: Request) -> Response:
        """Answer as soon as `count` messages match, or 408 when the time is up."""
        only(request, "query", "to", "from", "subject", "since", "timeout", "count", "tz")
        wanted = await self._wanted(request)
        timeout = number(request, "timeout", 10, MAX_WAIT_SECONDS)
        count = max(1, whole(request, "count", 1, MAX_LIMIT))
        try:
            with self._context.arrivals.subscribe() as waiter:
                found = await self._gather(request, wanted, count, timeout, waiter)
        except TooManyWaitersError:
            raise HTTPException(503, "too many clients wait already") from None
        except ArrivalsClosedError:
            raise HTTPException(503, "the server is shutting down") from None
        stored, unread = await self._mailbox.counts()
        if len(found) < count:
            text = f"{len(found)} of {count} messages came in {timeout:g} s"
            return Json({"Error": text, "Stored": stored}, 408)
        entries = list(reversed(found.values()))
        return _page(Listing(entries, stored, unread, len(found), len(found)), 0)

    async def _wanted(self, request: Request) -> Wanted:
        wanted = wanted_of(request)
        since = request.query_params.get("since", "")
        if not since:
            return wanted
        place = await self._mailbox.view(since, lambda one: (one.received_at, one.id))
        return wanted.after(place or time_of(since))

    async def _gather(
        self, request: Request, wanted: Wanted, count: int, seconds: float, waiter: Subscription
    ) -> dict[str, Entry]:
        """Collect matches, oldest first: those there are, then those that come."""
        deadline = asyncio.get_running_loop().time() + seconds
        found, is_whole = await self._there(wanted)
        while len(found) < count:
            catching_up = None if is_whole else self._mailbox.catch_up(_left(deadline))
            arrived = await _arrived_or_gone(request, waiter, deadline, catching_up)
            if arrived is None:
                break
            if waiter.take_missed() or not arrived:  # Look at all again.
                more, is_whole = await self._there(wanted)
                found |= more
                continue
            for message_id in arrived:
                entry = await self._mailbox.match(wanted.query, message_id)
                if entry is not None and wanted.takes(entry):
                    found[message_id] = entry
        return found

    async def _there(self, wanted: Wanted) -> tuple[dict[str, Entry], bool]:
        """Return the newest there are, by id, oldest first; and whether all were looked at."""
        there = await self._mailbox.search(wanted.query, 0, MAX_LIMIT)
        entries = filter(wanted.takes, reversed(there.entries))
        return {entry.id: entry for entry in entries}, not there.left_out


def _detail(message: Message, tagged: tuple[str, ...] | None) -> bytes:
    """Return a message taken apart, as JSON; in the reading thread, in short calls."""
    record = mailpit.detail(message, parse_message(message.body), is_read=True, tagged=tagged)
    return b"".join(mailpit.detail_pieces(record))


def _part(message: Message, wanted: str) -> tuple[Part, bytes] | None:
    """Return a part and its content, decoded; in the reading thread."""
    parts = parse_message(message.body).parts
    part = next((one for one in parts if one.number == wanted), None)
    return None if part is None else (part, part.content)


def _page(page: Listing, start: int) -> Response:
    headers = {"X-PrixFixe-Not-Indexed": str(page.left_out)} if page.left_out else {}
    return Response(mailpit.listing(page, start), media_type=Json.media_type, headers=headers)


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what work returns; give it up when the client is gone."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HTTPException(499, "the client is gone")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _arrived_or_gone(
    request: Request,
    waiter: Subscription,
    deadline: float,
    catching_up: Coroutine[Any, Any, bool] | None,
) -> list[str] | None:
    """Return what arrived next, nothing when the index caught up; None when it is over."""
    arrival = asyncio.ensure_future(waiter.arrived())
    tasks: list[asyncio.Future[Any]] = [arrival, asyncio.ensure_future(_gone(request))]
    if catching_up is not None:
        tasks.append(asyncio.ensure_future(catching_up))
    try:
        left = _left(deadline)
        await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if arrival.done():
            return arrival.result()
        return [] if tasks[-1].done() and catching_up is not None else None
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
