"""One HTTP request and its answer, as an ASGI application sees them (ASGI 3, HTTP 2.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

import h11

from prixfixe.http.safe import CLOSE, json_octets, safe_headers

if TYPE_CHECKING:
    from prixfixe.http.wire import Wire

__all__ = ["App", "Exchange", "scope_of"]

App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]  # an ASGI application

UNREAD_OCTETS: Final = 64 * 1024  # of a body that the application has not asked for
REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_INTERNAL: Final = json_octets({"Error": "internal error"})

_logger = logging.getLogger("prixfixe.http")


def scope_of(request: h11.Request, wire: Wire, state: dict[str, Any]) -> dict[str, Any]:
    """Return what an application is told of a request."""
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": request.http_version.decode("ascii"),
        "server": _address(wire.get_extra_info("sockname")),
        "client": _address(wire.get_extra_info("peername")),
        "scheme": "http",
        "method": request.method.decode("ascii"),
        "root_path": "",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": list(request.headers),
        "state": state,
    }


def _address(name: Any) -> tuple[str, int] | None:  # noqa: ANN401 - whatever a socket's name is
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None


class Exchange:
    """A request that is being answered.

    `on_complete` is called when the whole answer has been given to the wire.
    """

    def __init__(
        self,
        scope: dict[str, Any],
        conn: h11.Connection,
        wire: Wire,
        on_complete: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.has_more_body = True
        self.is_started = False  # the answer
        self.is_complete = False  # the answer
        self._conn = conn
        self._wire = wire
        self._on_complete = on_complete
        self._body = bytearray()
        self._news = asyncio.Event()
        self._is_gone = False
        self._is_last = False
        self._expects_continue = conn.they_are_waiting_for_100_continue

    # --- what the connection calls

    def take(self, octets: bytes) -> None:
        """Keep a piece of the body; too much of it stops the reading until it is asked for."""
        self._body += octets
        if len(self._body) > UNREAD_OCTETS:
            self._wire.pause_reading()
        self._news.set()

    def end_body(self) -> None:
        """Note that the body is whole."""
        self.has_more_body = False
        self._news.set()

    def wake(self) -> None:
        """Let `receive` look again."""
        self._news.set()

    def leave(self) -> None:
        """Note that nobody waits for the answer any more."""
        self._is_gone = True
        self._news.set()

    def make_last(self) -> None:
        """End the connection after this answer."""
        self._is_last = True

    async def run(self, app: App) -> None:
        """Answer; an application that fails is logged, and its client gets 500 if it can."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._wire.abort()
            raise
        except Exception:
            _logger.exception("Exception in ASGI application")
            await self._end_badly()
        else:
            if not (self.is_complete or self._is_gone):
                _logger.error("ASGI application ended before its answer")
                await self._end_badly()

    async def _end_badly(self) -> None:
        """Answer 500, or end the connection in an answer that has begun."""
        if self.is_complete:
            return
        if self.is_started:
            self.is_complete = True
            self._wire.close()
            self._on_complete()
            return
        headers = [*safe_headers("application/json", len(_INTERNAL)), CLOSE]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _INTERNAL})

    # --- what the application calls

    async def receive(self) -> dict[str, Any]:
        """Return the next event of the request: a piece of its body, or that its client is gone."""
        if self._expects_continue and not self._wire.is_closing():
            self._write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        self._expects_continue = False
        if not (self._is_gone or self.is_complete):
            self._wire.resume_reading()
            await self._news.wait()
            self._news.clear()
        if self._is_gone or self.is_complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.has_more_body}

    async def send(self, event: Any) -> None:  # noqa: ANN401 - ASGI's
        """Send the next event of the answer once the client takes what is written.

        Raises `RuntimeError` for an event that may not come now.
        """
        if not self._is_gone:
            await self._wire.drain()
        if self._is_gone:
            return
        expected = "http.response.body" if self.is_started else "http.response.start"
        if event["type"] != expected or self.is_complete:
            raise RuntimeError(f"unexpected ASGI event {event['type']}")
        if self.is_started:
            self._send_body(event.get("body", b""), is_last=not event.get("more_body", False))
        else:
            self._send_head(event["status"], event.get("headers", ()))

    def _send_head(self, status: int, headers: Any) -> None:  # noqa: ANN401 - ASGI's
        headers, reason = list(headers), REASONS.get(status, b"")
        if self._is_last and CLOSE not in headers:
            headers.append(CLOSE)
        self._write(h11.Response(status_code=status, headers=headers, reason=reason))
        self.is_started = True
        self._expects_continue = False

    def _send_body(self, octets: bytes, *, is_last: bool) -> None:
        self._write(h11.Data(data=b"" if self.scope["method"] == "HEAD" else octets))
        if not is_last:
            return
        self.is_complete = True
        self._news.set()
        self._write(h11.EndOfMessage())
        if self._conn.our_state is h11.MUST_CLOSE or self._is_last:
            self._conn.send(h11.ConnectionClosed())
            self._wire.close()
        self._on_complete()

    def _write(self, event: h11.Event) -> None:
        octets = self._conn.send(event)
        if octets:
            self._wire.write(octets)
