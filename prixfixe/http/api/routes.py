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
from sys import getsizeof
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.http.api import mailpit
from prixfixe.http.api.delete_request import named_ids
from prixfixe.http.pieces import cut, json_pieces
from prixfixe.http.responses import InPieces, Json, number, whole
from prixfixe.http.shelf import Shelf
from prixfixe.http.uvicorn_connection import connection_of
from prixfixe.mail.message import render, trace_headers
from prixfixe.mail.mime import header_fields, parse_message
from prixfixe.mail.query import parse_query
from prixfixe.stores.arrivals import ArrivalsClosedError, TooManyWaitersError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from prixfixe.http.api.mailbox import Mailbox
    from prixfixe.http.server import HttpContext
    from prixfixe.http.shelf import Loan
    from prixfixe.mail.message import Message
    from prixfixe.mail.mime import Part
    from prixfixe.mail.query import Query
    from prixfixe.stores.arrivals import Subscription

__all__ = ["Api"]

MAX_WAIT_SECONDS = 300.0
MAX_LIMIT = 1000
MAX_START = 1_000_000_000
# RFC 6838 4.2, and `'*%`: whatever else a sender writes there, HTTP may not take for a header.
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+'*%-]{1,127}/[A-Za-z0-9!#$&^_.+'*%-]{1,127}")
_UNKNOWN_TYPE = "application/octet-stream"
_ITEM_OCTETS = 500  # an address or a part in a list, a little more than true

T = TypeVar("T")


class Api:
    """Mailpit's read API, and two paths beyond it."""

    def __init__(self, context: HttpContext, mailbox: Mailbox) -> None:
        self._context = context
        self._mailbox = mailbox
        self._shelf = Shelf()
        self._since = time.monotonic()

    async def messages(self, request: Request) -> Response:
        """List, newest first."""
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        total = (await self._mailbox.totals()).messages

        async def page() -> bytes:
            found = await self._mailbox.page(start, limit)
            return mailpit.listing(found, total, total, start)

        return await self._listed(request, page)

    async def delete(self, request: Request) -> Response:
        """Delete the messages named in `IDs`, or all of them without a body."""
        return await self._deleted(await named_ids(request))

    async def search(self, request: Request) -> Response:
        """List what matches, newest first."""
        start = whole(request, "start", 0, MAX_START)
        limit = whole(request, "limit", 50, MAX_LIMIT)
        query = _query(request)
        total = (await self._mailbox.totals()).messages

        async def page() -> bytes:
            found, count = await self._mailbox.search(query, start, limit)
            return mailpit.listing(found, total, count, start)

        return await self._listed(request, page)

    async def _listed(self, request: Request, page: Callable[[], Awaitable[bytes]]) -> Response:
        loan = await self._shelf.lend(None, connection_of(request.scope), page, len)
        return InPieces(cut([loan.value]), loan, Json.media_type, len(loan.value))

    async def delete_found(self, request: Request) -> Response:
        """Delete what matches."""
        return await self._deleted(await self._mailbox.matching_ids(_query(request)))

    async def _deleted(self, ids: list[str] | None) -> Response:
        try:
            await self._context.store.delete(ids)
        finally:
            self._shelf.forget()
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

    async def _lent(
        self, request: Request, kind: str, make: Callable[[Message], T], weigh: Callable[[T], int]
    ) -> Loan[T]:
        """Return what is made of a message once for all who look, or answer 404."""
        name = await self._mailbox.id_of(request.path_params["id"])

        async def made() -> T:
            view = await self._mailbox.view(name, make)
            if view is None:
                raise HTTPException(404, "no such message")
            return view

        return await self._shelf.lend((kind, name), connection_of(request.scope), made, weigh)

    async def _lent_json(
        self, request: Request, kind: str, make: Callable[[Message], dict[str, Any]]
    ) -> Response:
        loan = await self._lent(request, kind, make, _weight)
        return InPieces(json_pieces(loan.value), loan, Json.media_type)

    async def message(self, request: Request) -> Response:
        """Return a message taken apart."""
        return await self._lent_json(request, "detail", _detail)

    async def envelope(self, request: Request) -> Response:
        """Return what the SMTP session said."""
        return await self._lent_json(request, "envelope", mailpit.envelope)

    async def headers(self, request: Request) -> Response:
        """Return the header fields, each name with all its values."""
        return await self._lent_json(request, "headers", _headers)

    async def raw(self, request: Request) -> Response:
        """Return the message as a file, octet for octet."""
        loan = await self._lent(request, "raw", _raw, _length)
        kind = "text/plain; charset=utf-8"
        return InPieces(cut(loan.value), loan, kind, _length(loan.value))

    async def part(self, request: Request) -> Response:
        """Return one part's decoded content, as a download."""
        wanted = request.path_params["part"]
        loan = await self._lent(
            request, f"part {wanted}", lambda one: _part(one, wanted), lambda one: len(one.content)
        )
        kind, content = loan.value.content_type, loan.value.content
        kind = kind if _TYPE.fullmatch(kind) else _UNKNOWN_TYPE
        answer = InPieces(cut([content]), loan, kind, len(content))
        answer.headers["Content-Disposition"] = "attachment"
        return answer

    # --- waiting

    async def wait(self, request: Request) -> Response:
        """Answer as soon as `count` messages match, or 408 when the time is up."""
        query = _query(request)
        timeout = number(request, "timeout", 10, MAX_WAIT_SECONDS)
        count = max(1, whole(request, "count", 1, MAX_LIMIT))
        try:
            with self._context.arrivals.subscribe() as waiter:
                connection_of(request.scope).waits_for_mail = True
                found = await self._gather(request, query, count, timeout, waiter)
        except TooManyWaitersError:
            raise HTTPException(503, "too many clients wait already") from None
        except ArrivalsClosedError:
            raise HTTPException(503, "the server is shutting down") from None
        if len(found) < count:
            raise HTTPException(408, f"{len(found)} of {count} messages came in {timeout:g} s")
        total = (await self._mailbox.totals()).messages

        async def page() -> bytes:
            entries = await self._mailbox.entries(list(reversed(found)))
            return mailpit.listing(entries, total, len(found), 0)

        return await self._listed(request, page)

    async def _gather(
        self, request: Request, query: Query, count: int, seconds: float, waiter: Subscription
    ) -> dict[str, None]:
        """Collect ids of matches, oldest first: those there are, then those that come."""
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
                if await self._mailbox.match(query, message_id):
                    found[message_id] = None
        return found

    async def _there(self, query: Query) -> dict[str, None]:
        """Return the ids of the newest that the store has now, oldest first."""
        there = await self._mailbox.matching_ids(query, MAX_LIMIT)
        return dict.fromkeys(reversed(there))


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


def _part(message: Message, wanted: str) -> Part:
    for part in parse_message(message.body).parts:
        if part.number == wanted:
            return part
    raise HTTPException(404, "no such part")


def _length(parts: tuple[bytes, ...]) -> int:
    return sum(map(len, parts))


def _weight(record: dict[str, Any]) -> int:
    """Return about how many bytes a record takes; its long texts are most of it."""
    return sum(
        _ITEM_OCTETS * len(value) if isinstance(value, list) else getsizeof(value)
        for value in record.values()
    )


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
        if gone.done():
            gone.result()  # A request that has no end ends the wait.
        return arrival.result() if arrival.done() else None
    finally:
        arrival.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _query(request: Request) -> Query:
    return parse_query(request.query_params.get("query", ""))
