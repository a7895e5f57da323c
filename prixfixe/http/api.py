"""Mailpit's read API, and two paths beyond it.

Owns: lists, searches, single messages, deleting, and waiting for mail.
Promises: a wait misses nothing that is kept after it was asked.
Refuses: reading stores (see `mailbox`), shaping records (see `mailpit`) and understanding what is
to be deleted (see `named`).
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.arrivals import ArrivalsClosedError, TooManyWaitersError
from prixfixe.http import mailpit
from prixfixe.http.answers import Json, number, whole
from prixfixe.http.named import named_ids
from prixfixe.mail.file_names import content_disposition
from prixfixe.mail.mime import header_fields, parse_message
from prixfixe.message import render
from prixfixe.query import parse_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from prixfixe.arrivals import Subscription
    from prixfixe.http.mailbox import Mailbox
    from prixfixe.http.mailpit import Entry
    from prixfixe.http.server import HttpContext
    from prixfixe.mail.mime import Part
    from prixfixe.message import Message
    from prixfixe.query import Query

__all__ = ["Api"]

MAX_WAIT_SECONDS = 300.0
MAX_LIMIT = 1000
MAX_START = 1_000_000_000
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
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        found = await self._mailbox.page(start, limit)
        total = (await self._mailbox.totals()).messages
        return _page(mailpit.listing(found, total, total, start))

    async def delete(self, request: Request) -> Response:
        """Delete the messages named in `IDs`, or all of them without a body."""
        await self._context.store.delete(await named_ids(request))
        return Response(b"ok", media_type="text/plain")

    async def search(self, request: Request) -> Response:
        """List what matches, newest first."""
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        found, count = await self._mailbox.search(_query(request), start, limit)
        total = (await self._mailbox.totals()).messages
        return _page(mailpit.listing(found, total, count, start))

    async def delete_found(self, request: Request) -> Response:
        """Delete what matches."""
        found = await self._mailbox.matching_ids(_query(request))
        await self._context.store.delete(found)
        return Response(b"ok", media_type="text/plain")

    async def info(self, _request: Request) -> Response:
        """Return version and totals."""
        totals = await self._mailbox.totals()
        return Json(
            {
                "Version": f"prixfixe {self._context.version}",
                "LatestVersion": "",
                "Database": self._context.store_kind,
                "DatabaseSize": totals.bytes,
                "Messages": totals.messages,
                "Unread": totals.messages,
                "Tags": {},
                "RuntimeStats": {"Uptime": int(time.monotonic() - self._since)},
            }
        )

    # --- one message

    async def _view(self, request: Request, make: Callable[[Message], Any]) -> Any:  # noqa: ANN401
        view = await self._mailbox.view(request.path_params["id"], make)
        if view is None:
            raise HTTPException(404, "no such message")
        return view

    async def message(self, request: Request) -> Response:
        """Return a message taken apart."""
        record = await self._view(request, _detail)
        return Response(record, media_type=Json.media_type)

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
        query = _query(request)
        timeout = number(request, "timeout", 10, MAX_WAIT_SECONDS)
        count = max(1, whole(request, "count", 1, MAX_LIMIT))
        try:
            with self._context.arrivals.subscribe() as waiter:
                found = await self._gather(request, query, count, timeout, waiter)
        except TooManyWaitersError:
            raise HTTPException(503, "too many clients wait already") from None
        except ArrivalsClosedError:
            raise HTTPException(503, "the server is shutting down") from None
        if len(found) < count:
            raise HTTPException(408, f"{len(found)} of {count} messages came in {timeout:g} s")
        total = (await self._mailbox.totals()).messages
        return _page(mailpit.listing(list(reversed(found.values())), total, len(found), 0))

    async def _gather(
        self, request: Request, query: Query, count: int, seconds: float, waiter: Subscription
    ) -> dict[str, Entry]:
        """Collect matches, oldest first: those there are, then those that come."""
        deadline = asyncio.get_running_loop().time() + seconds
        found = await self._there(query)
        while len(found) < count:
            arrived = await _arrived_or_gone(request, waiter, deadline)
            if not arrived:
                break
            if waiter.take_missed():  # More came at once than are remembered: look at all again.
                found |= await self._there(query)
                continue
            for message_id in arrived:
                entry = await self._mailbox.match(query, message_id)
                if entry is not None:
                    found[message_id] = entry
        return found

    async def _there(self, query: Query) -> dict[str, Entry]:
        """Return the newest that the store has now, by id, oldest first."""
        there, _count = await self._mailbox.search(query, 0, MAX_LIMIT)
        return {entry.id: entry for entry in reversed(there)}


def _detail(message: Message) -> bytes:
    """Return a message taken apart, as JSON; in the reading thread, in short calls."""
    record = mailpit.detail(message, parse_message(message.body))
    return b"".join(mailpit.detail_pieces(record))


def _part(message: Message, wanted: str) -> tuple[Part, bytes] | None:
    """Return a part and its content, decoded; in the reading thread."""
    parts = parse_message(message.body).parts
    part = next((one for one in parts if one.number == wanted), None)
    return None if part is None else (part, part.content)


def _page(listing: bytes) -> Response:
    return Response(listing, media_type=Json.media_type)


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())


async def _arrived_or_gone(
    request: Request, waiter: Subscription, deadline: float
) -> list[str] | None:
    """Return what arrived next; None when time is up or the client gone."""
    arrival = asyncio.ensure_future(waiter.arrived())
    gone = asyncio.ensure_future(_gone(request))
    try:
        left = _left(deadline)
        await asyncio.wait({arrival, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return arrival.result() if arrival.done() else None
    finally:
        arrival.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _query(request: Request) -> Query:
    return parse_query(request.query_params.get("query", ""))
