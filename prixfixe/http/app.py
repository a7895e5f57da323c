"""The paths of HTTP: health, metrics, API.

Owns: routing, arguments, status codes, the token, response headers.
Promises: errors are JSON with a message and never a path or an exception's text; unknown paths
are 404; a request body is read to its bound and no further.
Refuses: reading stores (see `mailbox`) and shaping records (see `mailpit`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount, Route

from prixfixe.arrivals import ArrivalsClosedError, TooManyWaitersError
from prixfixe.http import mailpit
from prixfixe.message import render
from prixfixe.mime import header_fields, parse_message
from prixfixe.query import QueryError, parse_query
from prixfixe.stores.base import DamagedError, StoreError, StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from prixfixe.arrivals import Subscription
    from prixfixe.http.mailbox import Mailbox
    from prixfixe.http.mailpit import Summary
    from prixfixe.http.server import HttpContext
    from prixfixe.message import Message
    from prixfixe.query import Query

__all__ = ["build_app"]

MAX_BODY_OCTETS = 1024 * 1024
MAX_WAIT_SECONDS = 300.0
MAX_LIMIT = 1000
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class Json(Response):
    """A JSON response; ASCII, so that whatever mail holds can be written."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
        return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


def build_app(context: HttpContext, mailbox: Mailbox) -> Starlette:
    """Return the application."""
    health, api = Health(context, mailbox), Api(context, mailbox)
    guarded = Mount(
        "/api/v1",
        routes=[
            Route("/messages", api.messages, methods=["GET"]),
            Route("/messages", api.delete, methods=["DELETE"]),
            Route("/search", api.search, methods=["GET"]),
            Route("/search", api.delete_found, methods=["DELETE"]),
            Route("/wait", api.wait),
            Route("/info", api.info),
            Route("/message/{id}", api.message),
            Route("/message/{id}/raw", api.raw),
            Route("/message/{id}/headers", api.headers),
            Route("/message/{id}/envelope", api.envelope),
            Route("/message/{id}/part/{part}", api.part),
        ],
    )
    app = Starlette(
        routes=[
            Route("/livez", health.live),
            Route("/readyz", health.ready),
            Route("/healthz", health.ready),
            Route("/metrics", health.metrics),
            guarded,
        ],
        exception_handlers={
            HTTPException: _http_error,
            DamagedError: _store_error,
            StoreError: _store_error,
            StoreOpenError: _store_error,
            QueryError: _bad_request,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    app.add_middleware(Headers, token=context.token)
    return app


class Headers:
    """Middleware: the token of /api, and headers that keep a browser from running mail."""

    def __init__(self, app: Any, token: str | None) -> None:  # noqa: ANN401 - an ASGI application
        self._app = app
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        async def send_safely(event: Any) -> None:  # noqa: ANN401
            if event["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _SAFE.items()]
                event["headers"] = [*event["headers"], *extra]
            await send(event)

        if scope["type"] == "http" and not self._may_pass(scope):
            refusal = Json({"Error": "a bearer token is required"}, 401)
            refusal.headers["WWW-Authenticate"] = "Bearer"
            await refusal(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)

    def _may_pass(self, scope: Any) -> bool:  # noqa: ANN401
        if self._token is None or not scope["path"].startswith("/api"):
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._token)


async def _http_error(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return Json({"Error": getattr(error, "detail", "error")}, status)


async def _bad_request(_request: Request, error: Exception) -> Response:
    return Json({"Error": str(error)}, 400)


async def _store_error(_request: Request, error: Exception) -> Response:
    if isinstance(error, DamagedError):
        return Json({"Error": "this message is damaged on disk"}, 500)
    return Json({"Error": "the store cannot be read now"}, 503)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return Json({"Error": "internal error"}, 500)


def _number(request: Request, name: str, default: float, most: float) -> float:
    text = request.query_params.get(name)
    try:
        number = default if text is None else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise HTTPException(400, f"{name}: expected a number from 0 to {most:g}")
    return number


class Health:
    """Alive, ready, and the counts."""

    def __init__(self, context: HttpContext, mailbox: Mailbox) -> None:
        self._context = context
        self._mailbox = mailbox

    async def live(self, _request: Request) -> Response:
        """Answer: that is the proof."""
        return Json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Report every condition; a probe on this machine announces its port here."""
        port = request.query_params.get("probe", "")
        if port.isdecimal() and len(port) <= 5 and _is_local(request):
            self._context.expect_probe(int(port))
        results = await self._context.readiness.check()
        is_ready = all(result.is_ok for result in results.values())
        checks = {
            name: {"ok": result.is_ok, "detail": result.detail} for name, result in results.items()
        }
        status = "ready" if is_ready else "not ready"
        return Json({"status": status, "checks": checks}, 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Return the counts."""
        metrics, accept = self._context.metrics, request.headers.get("accept")
        await self._context.readiness.check()
        with contextlib.suppress(StoreError, StoreOpenError):
            metrics.totals = await self._mailbox.totals()
        metrics.space = self._context.readiness.space
        loop = asyncio.get_running_loop()
        page, kind = await loop.run_in_executor(None, metrics.exposition, accept)
        return Response(page, headers={"Content-Type": kind})


def _is_local(request: Request) -> bool:
    host = request.client.host if request.client else ""
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"


class Api:
    """Mailpit's read API, and two paths beyond it."""

    def __init__(self, context: HttpContext, mailbox: Mailbox) -> None:
        self._context = context
        self._mailbox = mailbox
        self._since = time.monotonic()

    async def messages(self, request: Request) -> Response:
        """List, newest first."""
        start = int(_number(request, "start", 0, 1e9))
        limit = int(_number(request, "limit", 50, MAX_LIMIT))
        found = await self._mailbox.page(start, limit)
        total = (await self._mailbox.totals()).messages
        return Json(mailpit.listing(found, total, total, start))

    async def delete(self, request: Request) -> Response:
        """Delete the messages named in `IDs`, or all of them without a body."""
        await self._context.store.delete(_named_ids(await _body(request), request))
        return Response(b"ok", media_type="text/plain")

    async def search(self, request: Request) -> Response:
        """List what matches, newest first."""
        start = int(_number(request, "start", 0, 1e9))
        limit = int(_number(request, "limit", 50, MAX_LIMIT))
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
                kind = part.content_type.encode("ascii", "replace").decode()
                headers = {"Content-Type": kind, "Content-Disposition": "attachment"}
                return Response(part.content, headers=headers)
        raise HTTPException(404, "no such part")

    # --- waiting

    async def wait(self, request: Request) -> Response:
        """Answer as soon as `count` messages match, or 408 when the time is up."""
        query = _query(request)
        timeout = _number(request, "timeout", 10, MAX_WAIT_SECONDS)
        count = max(1, int(_number(request, "count", 1, MAX_LIMIT)))
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
        there = await self._mailbox.search(query)
        found = {summary.record["ID"]: summary for summary in reversed(there)}
        while len(found) < count:
            arrived = await _arrived_or_gone(request, waiter, deadline)
            if not arrived:
                break
            if waiter.missed:  # More came at once than are remembered: look at the store again.
                return await self._gather(request, query, count, _left(deadline), waiter)
            for message_id in arrived:
                summary = await self._mailbox.match(query, message_id)
                if summary is not None:
                    found[message_id] = summary
        return found


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
    if not body.strip():
        return None
    try:
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            fields: dict[str, Any] = dict(parse_qs(body.decode(), strict_parsing=True))
        else:
            fields = dict(json.loads(body))
    except (ValueError, TypeError):
        fields = {"": None}
    named = {name.lower(): value for name, value in fields.items()}  # Go's JSON ignores case.
    ids = named.pop("ids", [])
    if named or not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise HTTPException(400, 'expected {"IDs": ["ID", ...]}')
    return ids or None
