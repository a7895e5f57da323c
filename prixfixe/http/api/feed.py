"""What happens to the mail, told to every stream of events as it happens.

One task reads the arrivals for all streams, so that a message is taken apart once. A stream that
falls behind is told to look again, and holds no more than its bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from prixfixe.mail.query import Query
from prixfixe.stores.arrivals import ArrivalsClosedError, TooManyWaitersError
from prixfixe.stores.base import StoreError, StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prixfixe.http.api.mailbox import Mailbox
    from prixfixe.stores.arrivals import Arrivals, Subscription

__all__ = ["MAX_STREAMS", "Feed", "FeedClosedError", "Stream", "TooManyStreamsError", "event"]

MAX_STREAMS = 64
MAX_WAITING = 256  # events of one stream that are not sent yet
MAX_AT_ONCE = 20  # messages that are told one by one; of more it is told that there are some
PAUSE_SECONDS = 0.05  # between the messages of two turns
MAX_IDS = 1000  # that one event names
ALL = Query(())


class TooManyStreamsError(Exception):
    """The bound on streams is reached: answer 503."""


class FeedClosedError(Exception):
    """The server stops: answer 503, and end what is open."""


def event(name: str, data: Any, message_id: str = "") -> bytes:  # noqa: ANN401 - JSON's
    """Return one event as it is sent (HTML 9.2.5); data is JSON in ASCII, one line."""
    record = data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()
    number = f"id: {message_id}\n" if message_id else ""
    return f"event: {name}\n{number}data: ".encode() + record + b"\n\n"


class Stream:
    """One client's events that are not sent yet."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._wakeup = asyncio.Event()
        self._is_closed = False

    def add(self, told: bytes) -> None:
        """Queue an event; one that does not fit is replaced by the advice to look again."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.clear()
            told = event("reset", {})
        self._waiting.append(told)
        self._wakeup.set()

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._wakeup.set()

    async def next(self, seconds: float) -> bytes:
        """Return all that waits, or a comment when nothing comes in time.

        Raises:
            FeedClosedError: the server stops.

        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        if self._is_closed:
            raise FeedClosedError
        self._wakeup.clear()
        told = b"".join(self._waiting) or b": here\n\n"
        self._waiting.clear()
        return told


class Feed:
    """The streams, and the task that reads for them while there are any."""

    def __init__(self, arrivals: Arrivals, mailbox: Mailbox) -> None:
        self._arrivals = arrivals
        self._mailbox = mailbox
        self._streams: set[Stream] = set()
        self._reading: asyncio.Task[None] | None = None

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """Take part.

        Raises:
            TooManyStreamsError: the bound is reached.

        """
        if len(self._streams) >= MAX_STREAMS:
            raise TooManyStreamsError
        stream = Stream()
        self._streams.add(stream)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            if not self._streams and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    def tell(self, name: str, **data: Any) -> None:  # noqa: ANN401 - JSON's
        """Tell every stream."""
        if self._streams:
            self._spread(event(name, data))

    def tell_of(self, name: str, ids: Sequence[str] | None, **data: Any) -> None:  # noqa: ANN401
        """Tell what happened to these messages, or to all; of too many only that it happened."""
        if ids is None or len(ids) > MAX_IDS:
            self.tell("reset")
        else:
            self.tell(name, IDs=list(ids), **data)

    def _spread(self, told: bytes) -> None:
        for stream in self._streams:
            stream.add(told)

    async def _read(self) -> None:
        try:
            with self._arrivals.subscribe() as arriving:
                while True:
                    await self._pass_on(arriving)
        except (ArrivalsClosedError, TooManyWaitersError):
            self._reading = None
            for stream in self._streams:
                stream.close()

    async def _pass_on(self, arriving: Subscription) -> None:
        ids = await arriving.arrived()
        if arriving.take_missed() or len(ids) > MAX_AT_ONCE:
            self.tell("many", ID=ids[-1])
        else:
            for message_id in ids:
                await self._tell_new(message_id)
        await asyncio.sleep(PAUSE_SECONDS)

    async def _tell_new(self, message_id: str) -> None:
        try:
            entry = await self._mailbox.match(ALL, message_id)
        except (StoreError, StoreOpenError, HTTPException):  # It cannot be read now.
            self.tell("many", ID=message_id)
            return
        if entry is not None:
            self._spread(event("new", entry.record, message_id))
