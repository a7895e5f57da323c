"""HTTP connections with limits on number, time and size, on top of uvicorn's protocol.

A new connection is always accepted. If there are too many, one is closed: first one that has sent
no whole request, then one that does not read its answer, but never one that waits for mail. A slow
client that reads gets its whole answer. A request with a long head or body is refused before it is
parsed to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h11
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

from prixfixe.http.safe import json_octets, safe_headers
from prixfixe.http.wire import Wire

if TYPE_CHECKING:
    import asyncio

    from prixfixe.http.turns import Turns
    from prixfixe.telemetry.metrics import Metrics

__all__ = ["MAX_CONNECTIONS", "HttpConnection", "connection_of", "make_wire"]

MAX_CONNECTIONS: Final = 512  # the waiters of `arrivals`, and as many who ask
REQUEST_SECONDS: Final = 10.0  # to send the head of a request, the first or the next
BODY_SECONDS: Final = 30.0  # to send a whole request
ANSWER_SECONDS: Final = 360.0  # until an answer begins: the longest poll, and a minute
UNREAD_SECONDS: Final = 60.0  # for a peer to take `wire.HIGH_OCTETS` of an answer
LOOK_SECONDS: Final = 5.0
MAX_HEAD_LINES: Final = 100
MAX_FRAMING_OCTETS: Final = 2048  # of a chunk's first line, or of the trailers
MAX_REQUEST_OCTETS: Final = 2 * 1024 * 1024  # a body with all that frames it

_TOO_MUCH = f"a request may have {MAX_REQUEST_OCTETS} bytes"


def make_wire(*, metrics: Metrics, turns: Turns, **options: Any) -> Wire:  # noqa: ANN401 - uvicorn's
    """Return a new connection's wire."""
    speaker = HttpConnection(metrics=metrics, **options)
    return Wire(speaker, turns, speaker.loop)


def connection_of(scope: Any) -> HttpConnection:  # noqa: ANN401 - ASGI's
    """Return the connection that a request came by."""
    connection: HttpConnection = scope["state"]["connection"]
    return connection


class HttpConnection(H11Protocol):
    """uvicorn's connection, with clocks and bounds."""

    transport: Wire  # type: ignore[assignment]

    def __init__(self, *, metrics: Metrics, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._metrics = metrics
        self._since = 0.0  # when the silence or the answer began
        self._timer: asyncio.TimerHandle | None = None
        self._lines = 0  # of the head that is coming
        self._octets = 0  # of the body that is coming, as they come
        self._is_overfed = False
        self.requests = 0
        self.has_events = False
        self.is_lost = False
        self.is_too_much = False
        self.waits_for_mail = False
        self.reading: asyncio.Task[Any] | None = None  # which ends when its client goes

    # --- what state it is in

    @property
    def is_answering(self) -> bool:
        """Whether a request has begun that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def has_whole_request(self) -> bool:
        """Whether there is a request that is not answered yet and came to its end."""
        return self.is_answering and not self.cycle.more_body

    @property
    def is_body_open(self) -> bool:
        """Whether a part of the request's body is still to come."""
        return self.is_too_much or (self.cycle is not None and self.cycle.more_body)

    @property
    def has_unread(self) -> bool:
        """Whether the peer may be sending what is read no more."""
        if self._is_overfed:
            return True
        is_between = self.conn.their_state in (h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        return not is_between or bool(self.conn.trailing_data[0])

    @property
    def stalled_seconds(self) -> float:
        """How long the peer has taken nothing of what is written."""
        since = self.transport.full_since
        return 0.0 if since is None else self.loop.time() - since

    def rank(self) -> tuple[int, float]:
        """Return what orders connections: the first to go is the least."""
        if not self.has_whole_request:
            return 0, self._since
        if self.transport.full_since is not None:
            return 1, self.transport.full_since
        return 3 if self.waits_for_mail else 2, self._since

    # --- what the wire calls

    def connection_made(self, transport: Wire) -> None:  # type: ignore[override]
        """Take a connection in, and let another go when there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._since = self.loop.time()
        self._look_later(REQUEST_SECONDS)
        self._metrics.http_connection("accepted")
        if len(self.connections) > MAX_CONNECTIONS:
            mine = (one for one in self.connections if isinstance(one, HttpConnection))
            min((one for one in mine if one is not self), key=HttpConnection.rank).cut("replaced")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and what was being read for it."""
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        if self.reading is not None and self.is_answering:
            self.reading.cancel()

    def take(self, octets: bytes) -> None:
        """Parse; a request head starts the clock of its body."""
        self._unset_keepalive_if_required()
        self.has_events = False
        if self.conn.their_state is h11.MUST_CLOSE:  # The peer said that nothing follows.
            self._is_overfed = True
            return
        cycle, was_idle = self.cycle, self.conn.their_state is h11.IDLE
        if octets:
            self.conn.receive_data(octets)
        super().handle_events()
        if self.cycle is not cycle:
            self._begin_request()
        elif was_idle:
            self._count_lines(octets)
        else:
            self._count_body(octets)

    def handle_events(self) -> None:
        """Have what was parsed before looked at in a turn of its own: uvicorn's way on."""
        self.has_events = True
        self.transport.want()

    # --- bounds

    def _begin_request(self) -> None:
        self.requests += 1
        self._since = self.loop.time()
        self._lines = self._octets = 0
        self.waits_for_mail = self.is_too_much = False
        self.scope["state"]["connection"] = self
        announced = dict(self.headers).get(b"content-length", b"0")
        if len(announced) > 15 or int(announced) > MAX_REQUEST_OCTETS:
            self._refuse_more()

    def _count_lines(self, octets: bytes) -> None:
        self._lines += octets.count(b"\n")
        if self._lines > MAX_HEAD_LINES and not self.transport.is_closing():
            self.send_400_response("too many header fields")

    def _count_body(self, octets: bytes) -> None:
        self._octets += len(octets)
        held = len(self.conn.trailing_data[0]) if self.conn.their_state is h11.SEND_BODY else 0
        if held > MAX_FRAMING_OCTETS and not self.transport.is_closing():
            self.send_400_response("a line of a chunk or the trailers are too long")
        elif self._octets > MAX_REQUEST_OCTETS and not self.is_too_much:
            self._refuse_more()

    def _refuse_more(self) -> None:
        """Read no more of a request; `receive` says so to whoever wants its body."""
        self.is_too_much = True
        self.transport.pause_reading()
        self.cycle.message_event.set()

    async def receive(self, receive: Any) -> Any:  # noqa: ANN401 - ASGI's
        """Return the next of a request, or answer 413."""
        event = None if self.is_too_much else await receive()
        if self.is_too_much:
            raise HTTPException(413, _TOO_MUCH)
        return event

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in JSON as every error."""
        if self.is_answering:  # Its body went wrong: nobody answers the request any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        self._write_400(msg)
        self.conn.send_failed()
        self.transport.close()

    def _write_400(self, msg: str) -> None:
        body = json_octets({"Error": msg})
        headers = [*safe_headers("application/json", len(body)), (b"connection", b"close")]
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n")
        for name, value in headers:
            self.transport.write(b"%b: %b\r\n" % (name, value))
        self.transport.write(b"\r\n" + body)

    def shutdown(self) -> None:
        """Finish what is being answered; what is not asked yet is not awaited."""
        if self.has_whole_request:
            super().shutdown()
        elif not self.transport.unsent:
            self.transport.abort()

    # --- clocks

    def on_response_complete(self) -> None:
        """Start the clock of the next request."""
        self._since = self.loop.time()
        self.reading = None
        super().on_response_complete()
        if self.is_body_open:
            self.transport.close()

    def _look(self) -> None:
        left = self._left()
        if left <= 0:
            self.cut("timeout")
        else:
            self._look_later(left)

    def _look_later(self, seconds: float) -> None:
        # Whichever begins meanwhile is seen when the shortest of all may be over.
        wait = min(seconds, LOOK_SECONDS, REQUEST_SECONDS)
        self._timer = self.loop.call_later(wait, self._look)

    def _left(self) -> float:
        """Return the seconds that are left for what is going on."""
        if self.stalled_seconds:
            return UNREAD_SECONDS - self.stalled_seconds
        allowed = REQUEST_SECONDS
        if self.has_whole_request:
            if self.cycle.response_started:
                return LOOK_SECONDS  # It is our turn to write.
            allowed = ANSWER_SECONDS
        elif self.is_answering:
            allowed = BODY_SECONDS
        elif self.transport.unsent:
            allowed = UNREAD_SECONDS
        return self._since + allowed - self.loop.time()

    def cut(self, result: str) -> None:
        """End the connection now, whether its peer reads or not."""
        self.connections.discard(self)
        self._metrics.http_connection(result)
        self.transport.abort()
