"""Mailpit's read API, and two paths beyond it.

Owns: lists, searches, single messages, deleting, and waiting for mail.
Promises: a wait misses nothing that is kept after it was asked; a request body is read to its
bound and no further; what is deleted was named: a DELETE that is not understood deletes nothing.
Refuses: reading stores (see `mailbox`) and shaping records (see `mailpit`).
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.arrivals import ArrivalsClosedError, TooManyWaitersError
from prixfixe.http import mailpit
from prixfixe.http.answers import Json, number
from prixfixe.message import render
from prixfixe.mime import header_fields, parse_message
from prixfixe.query import parse_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from prixfixe.arrivals import Subscription
    from prixfixe.http.mailbox import Mailbox
    from prixfixe.http.mailpit import Summary
    from prixfixe.http.server import HttpContext
    from prixfixe.message import Message
    from prixfixe.query import Query

__all__ = ["Api"]

MAX_BODY_OCTETS = 1024 * 1024
MAX_WAIT_SECONDS = 300.0
MAX_LIMIT = 1000
# RFC 6838 4.2, and `'*%`: whatever else a sender writes there, HTTP may not take for a header.
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+'*%-]{1,127}/[A-Za-z0-9!#$&^_.+'*%-]{1,127}")
_UNKNOWN_TYPE = "application/octet-stream"


class Api:
    """Mailpit's read API, and two paths beyond it."""

    def __init__(self, context: HttpContext, mailbox: Mailbox) -> None:
        self._context = context
        self._mailbox = mailbox
        self._since = time.monotonic()

    async def messages(self, request: Request) -> Response:
        """List, newest first."""
        start = int(number(request, "start", 0, 1e9))
        limit = int(number(request, "limit", 50, MAX_LIMIT))
        found = await self._mailbox.page(start, limit)
        total = (await self._mailbox.totals()).messages
        return Json(mailpit.listing(found, total, total, start))

    async def delete(self, request: Request) -> Response:
        """Delete the messages named in `IDs`, or all of them without a body."""
        await self._context.store.delete(_named_ids(await _body(request), request))
        return Response(b"ok", media_type="text/plain")

    async def search(self, request: Request) -> Response:
        """List what matches, newest first."""
        start = int(number(request, "start", 0, 1e9))
        limit = int(number(request, "limit", 50, MAX_LIMIT))
        found = await self._mailbox.search(_query(request))
        total = (await self._mailbox.totals()).messages
        return Json(mailpit.listing(found[start : start + limit], total, len(found), start))

    async def delete_found(self, request: Request) -> Response:
        """Delete what matches."""
        found = await self._mailbox.search(_query(request))
        await self._context.store.delete([summary.record["ID"] for summary in found])
        return Response(b"ok", media_type="text/plain")

    async def info(self, _request: Request) -> Response:
        """Return version and totals."""
        totals = await self._mailbox.totals()
        return Json(
            {
                "Version": f"prixfixe {self._context.version}",
                "LatestVersion": "",
                "Database": self._context.store_url.partition(":")[0],
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
        return Json(
            await self._view(request, lambda one: mailpit.detail(one, parse_message(one.body)))
        )

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
        parsed = await self._view(request, lambda one: parse_message(one.body))
        for part in parsed.parts:
            if part.number == wanted:
                kind = part.content_type if _TYPE.fullmatch(part.content_type) else _UNKNOWN_TYPE
                headers = {"Content-Type": kind, "Content-Disposition": "attachment"}
                return Response(part.content, headers=headers)
        raise HTTPException(404, "no such part")

    # --- waiting

    async def wait(self, request: Request) -> Response:
        """Answer as soon as `count` messages match, or 408 when the time is up."""
        query = _query(request)
        timeout = number(request, "timeout", 10, MAX_WAIT_SECONDS)
        count = max(1, int(number(request, "count", 1, MAX_LIMIT)))
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
        return Json(mailpit.listing(list(reversed(found.values())), total, len(found), 0))

    async def _gather(
        self, request: Request, query: Query, count: int, seconds: float, waiter: Subscription
    ) -> dict[str, Summary]:
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
                summary = await self._mailbox.match(query, message_id)
                if summary is not None:
                    found[message_id] = summary
        return found

    async def _there(self, query: Query) -> dict[str, Summary]:
        """Return what the store has now, by id, oldest first."""
        there = await self._mailbox.search(query)
        return {summary.record["ID"]: summary for summary in reversed(there)}


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


async def _body(request: Request) -> bytes:
    octets = b""
    async for chunk in request.stream():
        octets += chunk
        if len(octets) > MAX_BODY_OCTETS:
            raise HTTPException(413, f"expected at most {MAX_BODY_OCTETS} octets")
    return octets


def _named_ids(body: bytes, request: Request) -> list[str] | None:
    """Return the ids a DELETE names, as JSON or as a form; None for all of them.

    Only no body, `{}` or an empty list means all: a misspelled request must not delete more.
    """
    if not body.strip() and not request.query_params:
        return None
    try:
        fields = {"": None} if request.query_params else _fields_of(body, request)
    except (ValueError, RecursionError):
        fields = {"": None}
    ids = fields.pop("ids", []) if isinstance(fields, dict) else None
    if fields or not isinstance(ids, list) or not all(_is_name(one) for one in ids):
        raise HTTPException(400, 'expected {"IDs": ["ID", ...]}')
    return ids or None


def _fields_of(body: bytes, request: Request) -> Any:  # noqa: ANN401 - whatever JSON can hold
    kind = request.headers.get("content-type", "").lower()
    if not kind.startswith("application/x-www-form-urlencoded"):
        return json.loads(body, object_pairs_hook=_fields)
    form = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True)
    return _fields(list(form.items()))


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object by names in lower case: Go's JSON ignores case. One of two is refused."""
    fields = {name.lower(): value for name, value in pairs}
    if len(fields) != len(pairs):
        raise ValueError("a name is written twice")
    return fields


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
