"""`/api/v1/events`: a stream of what happens to the mail (HTML 9.2, server-sent events)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prixfixe.http.api.feed import ALL, Feed, FeedClosedError, TooManyStreamsError, event
from prixfixe.http.api.wait_condition import WaitCondition, time_of
from prixfixe.http.connection import connection_of
from prixfixe.http.guard import is_foreign
from prixfixe.http.responses import only
from prixfixe.stores.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from prixfixe.http.api.feed import Stream
    from prixfixe.http.api.mailbox import Mailbox

__all__ = ["HEARTBEAT_SECONDS", "Events"]

HEARTBEAT_SECONDS = 15.0
MAX_MISSED = 100  # messages that one who comes back is told one by one


class Events:
    """The path, and those who listen."""

    def __init__(self, feed: Feed, mailbox: Mailbox) -> None:
        self._feed = feed
        self._mailbox = mailbox

    async def events(self, request: Request) -> Response:
        """Answer with a stream that ends with the client or the server."""
        only(request)
        if is_foreign(request.scope):
            raise HTTPException(403, "not for a page of another origin")
        last = request.headers.get("last-event-id", "")
        if last:
            time_of(last)  # 400 for what is none
        return _Streaming(lambda send: self._send(request, last, send))

    async def _send(
        self, request: Request, last: str, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        connection = connection_of(request.scope)
        connection.waits_for_mail = True
        try:
            with self._feed.stream() as stream:
                await send(b"retry: 1000\n: here\n\n")
                await send(await self._missed(last))
                await _pass_on(stream, send)
        except TooManyStreamsError:
            raise HTTPException(503, "too many clients listen already") from None
        except FeedClosedError:
            return

    async def _missed(self, last: str) -> bytes:
        """Return what came after a message: each, or of many that there are some."""
        if not last:
            return b""
        since = WaitCondition(ALL).after(time_of(last))
        try:
            ids, is_whole = await self._mailbox.newest(since, MAX_MISSED + 1)
            if not is_whole or len(ids) > MAX_MISSED:
                return event("reset", {})
            entries = [await self._mailbox.match(ALL, one) for one in reversed(ids)]
        except (StoreError, HTTPException):
            return event("reset", {})
        return b"".join(event("new", one.record, one.id) for one in entries if one is not None)


async def _pass_on(stream: Stream, send: Callable[[bytes], Awaitable[None]]) -> None:
    while True:
        await send(await stream.next(HEARTBEAT_SECONDS))


class _Streaming(Response):
    """An answer that begins with the first thing it sends, and refuses before that."""

    def __init__(
        self, send_all: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
    ) -> None:
        super().__init__(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        del self.headers["content-length"]
        self.headers["X-Accel-Buffering"] = "no"  # proxies that collect answers
        self._send_all = send_all

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401, ARG002
        """Send until the end."""
        is_begun = False

        async def begin() -> None:
            nonlocal is_begun
            is_begun = True
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})

        async def pass_on(octets: bytes) -> None:
            if not is_begun:
                await begin()
            if octets:
                await send({"type": "http.response.body", "body": octets, "more_body": True})

        if scope["method"] == "HEAD":
            await begin()
        else:
            await self._send_all(pass_on)
        if not is_begun:
            await begin()
        await send({"type": "http.response.body", "body": b""})
