"""HTTP connections that cannot starve the health checks.

Owns: how many connections there may be, and how long one may be silent or busy.
Promises: a newcomer always gets in: when there are too many, the one that has been silent longest
goes, or the one whose answer has taken longest; a request that does not come in time ends its
connection, so that idle clients take no descriptors from mail.
Refuses: HTTP itself. uvicorn speaks it; its own bound answers 503 to whoever comes, and has none
for a client that connects and sends nothing. `tests/unit/test_uvicorn_contract.py` holds what of
uvicorn is relied on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from prixfixe.telemetry.metrics import Metrics

__all__ = ["MAX_CONNECTIONS", "HttpConnection"]

MAX_CONNECTIONS: Final = 512  # the waiters of `arrivals`, and as many who ask
REQUEST_SECONDS: Final = 10.0  # to send a request, the first or the next
ANSWER_SECONDS: Final = 360.0  # for an answer: the longest poll, and a minute to read it


class HttpConnection(H11Protocol):
    """uvicorn's connection, with clocks."""

    def __init__(self, *args: Any, metrics: Metrics, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._metrics = metrics
        self._since = 0.0  # when the silence or the answer began
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Whether a request has come that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection in, and let another go when there are too many."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._look)
        self._metrics.http_connection("accepted")
        if len(self.connections) > MAX_CONNECTIONS:
            mine = (one for one in self.connections if isinstance(one, HttpConnection))
            min((one for one in mine if one is not self), key=HttpConnection.rank).cut("replaced")

    def rank(self) -> tuple[bool, float]:
        """Return what orders connections: the first to go is the least."""
        return self.is_answering, self._since

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take octets; a whole request head starts the clock of its answer."""
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:
            self._since = self.loop.time()

    def on_response_complete(self) -> None:
        """Start the clock of the next request."""
        self._since = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        allowed = ANSWER_SECONDS if self.is_answering else REQUEST_SECONDS
        left = self._since + allowed - self.loop.time()
        if left <= 0:
            self.cut("timeout")
        else:
            # Whichever begins meanwhile is seen when the shorter of the two may be over.
            self._timer = self.loop.call_later(min(left, REQUEST_SECONDS), self._look)

    def cut(self, result: str) -> None:
        """End the connection now, whether its peer reads or not."""
        self.connections.discard(self)
        self._metrics.http_connection(result)
        self.transport.abort()
