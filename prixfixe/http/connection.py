"""HTTP/1.1 connections (RFC 9112) with limits on number, time and size, parsed by h11.

A new connection is always accepted. If there are too many, one is closed: first one that has sent
no whole request, then one that does not read its answer, but never one that waits for mail. A slow
client that reads gets its whole answer. A request with a long head or body is refused before it is
parsed to its end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import h11
from starlette.exceptions import HTTPException

from prixfixe.http.exchange import Exchange, scope_of
from prixfixe.http.safe import CLOSE, json_octets, safe_headers

if TYPE_CHECKING:
    from prixfixe.http.exchange import App
    from prixfixe.http.wire import Wire
    from prixfixe.telemetry.metrics import Metrics

__all__ = ["MAX_CONNECTIONS", "Connections", "HttpConnection", "connection_of"]

MAX_CONNECTIONS: Final = 512  # the waiters of `arrivals`, and as many who ask
REQUEST_SECONDS: Final = 10.0  # to send the head of a request, the first or the next
BODY_SECONDS: Final = 30.0  # to send a whole request
ANSWER_SECONDS: Final = 360.0  # until an answer begins: the longest poll, and a minute
UNREAD_SECONDS: Final = 60.0  # for a peer to take `wire.HIGH_OCTETS` of an answer
KEEP_ALIVE_SECONDS: Final = 5.0  # between two requests
LOOK_SECONDS: Final = 5.0
CANCEL_SECONDS: Final = 0.5  # at the end, for what was cancelled to say so
MAX_HEAD_OCTETS: Final = 16 * 1024
MAX_HEAD_LINES: Final = 100
MAX_FRAMING_OCTETS: Final = 2048  # of a chunk's first line, or of the trailers
MAX_REQUEST_OCTETS: Final = 2 * 1024 * 1024  # a body with all that frames it

_logger = logging.getLogger("prixfixe.http")
_TOO_MUCH = f"a request may have {MAX_REQUEST_OCTETS} bytes"


def connection_of(scope: Any) -> HttpConnection:  # noqa: ANN401 - ASGI's
    """Return the connection that a request came by."""
    connection: HttpConnection = scope["state"]["connection"]
    return connection


class Connections:
    """The open connections of a listener, and the tasks that answer their requests."""

    def __init__(self) -> None:
        self.all: set[HttpConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def add(self, one: HttpConnection) -> None:
        """Take a connection in, and let another go when there are too many."""
        self.all.add(one)
        if len(self.all) > MAX_CONNECTIONS:
            min(self.all - {one}, key=HttpConnection.rank).cut("replaced")

    def discard(self, one: HttpConnection) -> None:
        """Forget a connection."""
        self.all.discard(one)
        self._changed.set()

    def answer(self, exchange: Exchange, app: App) -> None:
        """Let the application answer a request in a task."""
        task = asyncio.get_running_loop().create_task(exchange.run(app))
        self._tasks.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    async def finish(self, seconds: float) -> None:
        """Finish what is being answered, and cancel what takes longer than so many seconds."""
        for one in list(self.all):
            one.finish()
        if not await self._end_within(seconds):
            for task in list(self._tasks):
                task.cancel()
            await self._end_within(CANCEL_SECONDS)
        for one in list(self.all):
            one.wire.abort()

    async def _end_within(self, seconds: float) -> bool:
        """Wait until all have ended; return whether they did in time."""
        try:
            async with asyncio.timeout(seconds):
                while self.all or self._tasks:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


class HttpConnection:
    """Speaks HTTP over a wire, with clocks and bounds."""

    def __init__(
        self,
        app: App,
        connections: Connections,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._app = app
        self._connections = connections
        self._metrics = metrics
        self._loop = loop
        self._conn = h11.Connection(h11.SERVER, MAX_HEAD_OCTETS)
        self._exchange: Exchange | None = None
        self._since = 0.0  # when the silence or the answer began
        self._timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._lines = 0  # of the head that is coming
        self._octets = 0  # of the body that is coming, as they come
        self._is_overfed = False
        self.wire: Wire
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
        return self._exchange is not None and not self._exchange.is_complete

    @property
    def has_whole_request(self) -> bool:
        """Whether there is a request that is not answered yet and came to its end."""
        return self.is_answering and not self._has_more_body

    @property
    def is_body_open(self) -> bool:
        """Whether a part of the request's body is still to come."""
        return self.is_too_much or self._has_more_body

    @property
    def _has_more_body(self) -> bool:
        return self._exchange is not None and self._exchange.has_more_body

    @property
    def has_unread(self) -> bool:
        """Whether the peer may be sending what is read no more."""
        if self._is_overfed:
            return True
        is_between = self._conn.their_state in (h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        return not is_between or bool(self._conn.trailing_data[0])

    @property
    def stalled_seconds(self) -> float:
        """How long the peer has taken nothing of what is written."""
        since = self.wire.full_since
        return 0.0 if since is None else self._loop.time() - since

    def rank(self) -> tuple[int, float]:
        """Return what orders connections: the first to go is the least."""
        if not self.has_whole_request:
            return 0, self._since
        if self.wire.full_since is not None:
            return 1, self.wire.full_since
        return 3 if self.waits_for_mail else 2, self._since

    # --- what the wire calls

    def connection_made(self, wire: Wire) -> None:
        """Begin."""
        self.wire = wire
        self._since = self._loop.time()
        self._look_later(REQUEST_SECONDS)
        self._metrics.http_connection("accepted")
        self._connections.add(self)

    def connection_lost(self) -> None:
        """Forget the connection, and what was being read for it."""
        self.is_lost = True
        self._connections.discard(self)
        self._stop_idling()
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is not None:
            self._exchange.leave()
        if self.reading is not None and self.is_answering:
            self.reading.cancel()

    def take(self, octets: bytes) -> None:
        """Parse; a request head starts the clock of its body."""
        self.has_events = False
        if self._conn.their_state is h11.MUST_CLOSE:  # The peer said that nothing follows.
            self._is_overfed = True
            return
        exchange, was_idle = self._exchange, self._conn.their_state is h11.IDLE
        if octets:
            self._stop_idling()
            self._conn.receive_data(octets)
        self._parse()
        if self._exchange is not exchange:
            self._bound_request()
        elif was_idle:
            self._count_lines(octets)
        else:
            self._count_body(octets)

    def _parse(self) -> None:
        """Act on what has come whole."""
        try:
            while self._act(self._conn.next_event()):
                pass
        except h11.RemoteProtocolError:
            _logger.warning("Invalid HTTP request received.")
            self._refuse("Invalid HTTP request received.")

    def _act(self, event: Any) -> bool:  # noqa: ANN401 - h11's events have no type in common
        """Act on an event of h11; return whether to ask for the next."""
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data):
            self._request.take(event.data)
        elif isinstance(event, h11.EndOfMessage):
            self._request.end_body()
            return self._conn.their_state is not h11.MUST_CLOSE
        else:
            if event is h11.PAUSED:  # The next request waits until this one is answered.
                self.wire.pause_reading()
            return False
        return True

    @property
    def _request(self) -> Exchange:
        assert self._exchange is not None  # noqa: S101 - a body follows its head
        return self._exchange

    def _begin(self, request: h11.Request) -> None:
        self._stop_idling()
        scope = scope_of(request, self.wire, {"connection": self})
        self._exchange = Exchange(scope, self._conn, self.wire, self._completed)
        self._connections.answer(self._exchange, self._app)

    # --- bounds

    def _bound_request(self) -> None:
        self.requests += 1
        self._since = self._loop.time()
        self._lines = self._octets = 0
        self.waits_for_mail = self.is_too_much = False
        announced = dict(self._request.scope["headers"]).get(b"content-length", b"0")
        if len(announced) > 15 or int(announced) > MAX_REQUEST_OCTETS:
            self._refuse_more()

    def _count_lines(self, octets: bytes) -> None:
        self._lines += octets.count(b"\n")
        if self._lines > MAX_HEAD_LINES and not self.wire.is_closing():
            self._refuse("too many header fields")

    def _count_body(self, octets: bytes) -> None:
        self._octets += len(octets)
        held = len(self._conn.trailing_data[0]) if self._conn.their_state is h11.SEND_BODY else 0
        if held > MAX_FRAMING_OCTETS and not self.wire.is_closing():
            self._refuse("a line of a chunk or the trailers are too long")
        elif self._octets > MAX_REQUEST_OCTETS and not self.is_too_much:
            self._refuse_more()

    def _refuse_more(self) -> None:
        """Read no more of a request; `receive` says so to whoever wants its body."""
        self.is_too_much = True
        self.wire.pause_reading()
        self._request.wake()

    async def receive(self, receive: Any) -> Any:  # noqa: ANN401 - ASGI's
        """Return the next of a request, or answer 413."""
        event = None if self.is_too_much else await receive()
        if self.is_too_much:
            raise HTTPException(413, _TOO_MUCH)
        return event

    def _refuse(self, reason: str) -> None:
        """Refuse what is no request, in JSON as every error."""
        if self.is_answering:  # Its body went wrong: nobody answers the request any more.
            self._request.leave()
            if self._request.is_started:
                self.wire.close()
                return
        self._write_400(reason)
        self._conn.send_failed()
        self.wire.close()

    def _write_400(self, reason: str) -> None:
        body = json_octets({"Error": reason})
        headers = [*safe_headers("application/json", len(body)), CLOSE]
        self.wire.write(b"HTTP/1.1 400 Bad Request\r\n")
        for name, value in headers:
            self.wire.write(b"%b: %b\r\n" % (name, value))
        self.wire.write(b"\r\n" + body)

    def finish(self) -> None:
        """Finish what is being answered; what is not asked yet is not awaited."""
        if self.has_whole_request:
            self._request.make_last()
        elif self.wire.unsent:
            self.wire.close()
        else:
            self.wire.abort()

    # --- clocks

    def _completed(self) -> None:
        """Start the clock of the next request, which may have come already."""
        self._since = self._loop.time()
        self.reading = None
        if self.is_body_open:
            self.wire.close()
        if self.wire.is_closing():
            return
        self._stop_idling()
        if not self._conn.trailing_data[0]:  # else the next request has begun
            self._idle_timer = self._loop.call_later(KEEP_ALIVE_SECONDS, self.wire.close)
        self.wire.resume_reading()
        if self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE:
            self._conn.start_next_cycle()
            self.has_events = True  # What was parsed before has a turn of its own.
            self.wire.want()

    def _stop_idling(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _look(self) -> None:
        left = self._left()
        if left <= 0:
            self.cut("timeout")
        else:
            self._look_later(left)

    def _look_later(self, seconds: float) -> None:
        # Whichever begins meanwhile is seen when the shortest of all may be over.
        wait = min(seconds, LOOK_SECONDS, REQUEST_SECONDS)
        self._timer = self._loop.call_later(wait, self._look)

    def _left(self) -> float:
        """Return the seconds that are left for what is going on."""
        if self.stalled_seconds:
            return UNREAD_SECONDS - self.stalled_seconds
        allowed = REQUEST_SECONDS
        if self.has_whole_request:
            if self._request.is_started:
                return LOOK_SECONDS  # It is our turn to write.
            allowed = ANSWER_SECONDS
        elif self.is_answering:
            allowed = BODY_SECONDS
        elif self.wire.unsent:
            allowed = UNREAD_SECONDS
        return self._since + allowed - self._loop.time()

    def cut(self, result: str) -> None:
        """End the connection now, whether its peer reads or not."""
        self._connections.discard(self)
        self._metrics.http_connection(result)
        self.wire.abort()
