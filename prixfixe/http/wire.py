"""The transport of an HTTP connection, with bounded buffers.

At most `READ_OCTETS` wait to be parsed, and at most `HIGH_OCTETS` and one piece wait to be sent. A
client that still sends after the answer does not lose it by a reset.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from prixfixe.http.turns import Turns

__all__ = ["HIGH_OCTETS", "Speaker", "Wire"]

STEP_OCTETS: Final = 512  # 85 chunks of one byte, which take h11 a millisecond
HIGH_OCTETS: Final = 32 * 1024
LOW_OCTETS: Final = 8 * 1024
LINGER_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 0.25
LINGER_OCTETS: Final = 2 * 1024 * 1024
REQUEST_COST: Final = 0.0004  # seconds that the loop is at a cheap request after it is parsed
# A read of bytes that are thrown away counts as so many seconds of a turn, though it takes fewer.
# The loop accepts one connection in each of its turns. If a turn had a hundred reads, new clients
# would wait for a second.
DISCARD_COST: Final = 0.0002


class Speaker(Protocol):
    """Who speaks HTTP over a wire."""

    requests: int
    has_events: bool

    @property
    def has_unread(self) -> bool:
        """Whether the peer may be sending what is read no more."""
        ...

    def take(self, octets: bytes) -> None:
        """Parse; no bytes are given when only what was parsed before waits."""
        ...

    def connection_made(self, wire: Any) -> None: ...  # noqa: ANN401, D102
    def connection_lost(self) -> None: ...  # noqa: D102


class Wire(asyncio.BufferedProtocol):
    """Stands between transport and HTTP: to each of them it is the other."""

    def __init__(self, speaker: Speaker, turns: Turns, loop: asyncio.AbstractEventLoop) -> None:
        self._speaker = speaker
        self._turns = turns
        self._loop = loop
        self._transport: asyncio.Transport
        self._input = b""
        self._is_held = False  # HTTP does not want to be given more
        self._is_waiting = False  # for its turn
        self._is_ending = False
        self._is_lost = False
        self._discarded = self._discarded_before = 0
        self._linger_until = 0.0
        self._lingering: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.cost = 0.0
        self.full_since: float | None = None  # when the peer stopped taking what is written

    # --- what the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_OCTETS, low=LOW_OCTETS)
        self._speaker.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's
        """End."""
        self._is_lost = self._is_ending = True
        self._input = b""
        if self._lingering is not None:
            self._lingering.cancel()
        self._writable.set()
        self._speaker.connection_lost()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's
        """Return where to read to."""
        return self._turns.read_view

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what was read until it is this connection's turn, and read no more till then."""
        if self._is_ending:
            self._discard(nbytes)
            return
        self._input += bytes(self._turns.read_view[:nbytes])
        self._transport.pause_reading()
        self.want()

    def pause_writing(self) -> None:
        """Note that the peer does not take what is written."""
        self.full_since = self._loop.time()
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it does."""
        self.full_since = None
        self._writable.set()

    # --- turns

    def want(self) -> None:
        """Ask for a turn, unless there is nothing to do in it."""
        if self._has_work and not self._is_waiting:
            self._is_waiting = True
            self._turns.want(self)

    @property
    def _has_work(self) -> bool:
        is_open = not self._is_ending and not self._is_held
        return is_open and bool(self._input or self._speaker.has_events)

    def step(self) -> tuple[bool, float]:
        """Hand a piece on."""
        if self._is_ending:
            self._is_waiting = False
            self._read_to_discard()
            return False, DISCARD_COST
        before = self._speaker.requests
        if self._has_work:
            piece, self._input = self._input[:STEP_OCTETS], self._input[STEP_OCTETS:]
            self._speaker.take(piece)
        self._is_waiting = self._has_work
        self._go_on()
        return self._is_waiting, REQUEST_COST * (self._speaker.requests - before)

    def _go_on(self) -> None:
        """Read on, for the answer or after a refusal in this step."""
        if self._is_ending:
            self._read_to_discard()
        else:
            self._read_on()

    def _read_to_discard(self) -> None:
        if not self._is_lost and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- what HTTP calls, for which this is the transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return what the transport knows."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether nothing is read any more."""
        return self._is_ending or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Hand nothing on until told to."""
        self._is_held = True

    def resume_reading(self) -> None:
        """Go on, if told to hand nothing on."""
        if not self._is_held:
            return
        self._is_held = False
        if self._input or self._speaker.has_events:
            self.want()
        elif not self._is_waiting:
            self._read_on()

    def _read_on(self) -> None:
        if not (self._input or self._is_held or self.is_closing()):
            self._transport.resume_reading()

    def write(self, octets: bytes) -> None:
        """Write to the peer."""
        self._transport.write(octets)

    async def drain(self) -> None:
        """Wait until the peer takes what is written, or is gone."""
        await self._writable.wait()

    @property
    def unsent(self) -> int:
        """How many bytes the kernel has not taken yet."""
        return 0 if self._is_lost else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """End after what is written; whatever the peer sends from now on is not looked at."""
        if self._is_ending:
            return
        self._is_ending = True
        if self._input or self._speaker.has_unread:
            self._linger()
        else:
            self._transport.close()

    def abort(self) -> None:
        """End now, whether the peer reads or not."""
        self._is_ending = True
        self._input = b""
        if not self._is_lost:
            self._transport.abort()

    # --- the end

    def _linger(self) -> None:
        """Read on a little: a reset would take the answer away.

        The peer is told the end once it is quiet. If it goes on sending, it is not told, so that it
        does not come again at once.
        """
        self._input = b""
        with contextlib.suppress(OSError, RuntimeError):  # The peer was quicker.
            if not self._is_waiting:
                self._transport.resume_reading()
        self._linger_until = self._loop.time() + LINGER_SECONDS
        self._lingering = self._loop.call_later(QUIET_SECONDS, self._lingered)

    def _lingered(self) -> None:
        wait = QUIET_SECONDS
        if self.unsent:  # Whether it is taken at all is the clock's business in `connection`.
            wait = LINGER_SECONDS
        elif self._loop.time() >= self._linger_until:
            self.abort()
            return
        elif self._discarded == self._discarded_before:
            with contextlib.suppress(OSError, RuntimeError):
                self._transport.write_eof()
            wait = max(self._linger_until - self._loop.time(), 0)
        self._discarded_before = self._discarded
        self._lingering = self._loop.call_later(wait, self._lingered)

    def _discard(self, nbytes: int) -> None:
        """Throw away what comes too late, which takes turns too."""
        self._discarded += nbytes
        if self._discarded > LINGER_OCTETS:
            self.abort()
        elif not self._is_waiting:
            self._is_waiting = True
            self._transport.pause_reading()
            self._turns.want(self)
