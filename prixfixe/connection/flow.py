"""Flow control of one connection: when to read from the client, and how replies are written."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from prixfixe.smtp.proxy_header import MAX_OCTETS as MAX_HEADER_OCTETS

if TYPE_CHECKING:
    from prixfixe.smtp.transcript import Transcript

__all__ = [
    "BULK_OCTETS",
    "NARROW_OCTETS",
    "PAUSE_EARLY_OCTETS",
    "PAUSE_OCTETS",
    "TLS_BUFFER_OCTETS",
    "Flow",
]

# Buffered input at which reading pauses, so that TCP slows the client; the longest line fits.
PAUSE_OCTETS: Final = 16384
PAUSE_EARLY_OCTETS: Final = MAX_HEADER_OCTETS  # the same before the greeting: a whole header fits
BULK_OCTETS: Final = 131072  # of one read, after which other connections have a turn
NARROW_OCTETS: Final = 32768  # receive buffer of the kernel for a client that floods
# Encrypted input, and replies, at which TLS pauses; two TLS records fit.
TLS_BUFFER_OCTETS: Final = 32768


class Flow:
    """The transport of a connection, and whether it reads.

    `is_writing_paused` means that the client does not read its replies. `is_at_end` means that it
    will send no more. `is_resting` means that other connections have a turn after a large read.
    """

    __slots__ = (
        "_has_stopped_reading",
        "_is_narrow",
        "_transcript",
        "is_at_end",
        "is_reading_paused",
        "is_resting",
        "is_writing_paused",
        "transport",
    )

    def __init__(self, transcript: Transcript | None = None) -> None:
        self.transport: Any = None  # the transports of event loops have no common class
        self.is_at_end = False
        self.is_reading_paused = False
        self.is_resting = False
        self.is_writing_paused = False
        self._has_stopped_reading = False  # for good, on this transport
        self._transcript = transcript
        self._is_narrow = False  # whether the kernel's receive buffer was reduced

    def attach(self, transport: Any) -> None:  # noqa: ANN401 - as above
        """Use a transport, which is reading, from now on."""
        self.transport = transport
        self._has_stopped_reading = self.is_reading_paused = False

    def bound_tls(self) -> None:
        """Limit the buffers of a TLS transport; asyncio's limits suit fewer connections."""
        self.transport.set_read_buffer_limits(TLS_BUFFER_OCTETS)
        self.transport.set_write_buffer_limits(TLS_BUFFER_OCTETS)

    def detach(self) -> Any:  # noqa: ANN401 - as above
        """Return the transport and drop it."""
        transport, self.transport = self.transport, None
        return transport

    def end_of_input(self) -> None:
        """Note that the client will send no more."""
        self.is_at_end = True

    def pause_writing(self) -> None:
        """Note that the client does not read its replies."""
        self.is_writing_paused = True

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self.is_writing_paused = False

    def rest(self) -> None:
        """Pause reading until this connection's next turn."""
        self.is_resting = True

    def end_rest(self) -> None:
        """Allow reading again: it is this connection's turn."""
        self.is_resting = False

    def govern(self, *, is_full: bool, is_starved: bool) -> None:
        """Pause or resume reading: there must be room, memory, a turn and a reading client."""
        if self._has_stopped_reading or self.is_at_end:
            return
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if is_full and not is_starved and not self._is_narrow:
            self._narrow()
        is_wanted = not (is_full or is_starved or self.is_resting or self.is_writing_paused)
        if is_wanted == self.is_reading_paused:
            self.is_reading_paused = not is_wanted
            (transport.resume_reading if is_wanted else transport.pause_reading)()

    def stop_reading(self) -> None:
        """Stop reading from this transport for good; the client may still read replies."""
        if not (self._has_stopped_reading or self.transport is None or self.transport.is_closing()):
            self._has_stopped_reading = True
            self.transport.pause_reading()

    def _narrow(self) -> None:
        """Reduce the kernel's receive buffer for a client that sends faster than it is served.

        One read may return the whole buffer, and TLS makes several copies of it.
        """
        self._is_narrow = True
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_OCTETS)

    def write(self, output: list[bytes]) -> None:
        """Send replies in one write and clear the list; no other code writes to the transport.

        No input is processed while the client does not read, so the transport buffers the replies
        of at most one slice of work.
        """
        if output and self.transport is not None:
            if self._transcript is not None:
                self._transcript.said(b"".join(output))
            self.transport.write(b"".join(output) if len(output) > 1 else output[0])
            output.clear()

    def is_open(self) -> bool:
        """Whether there is a transport that is not closing."""
        return self.transport is not None and not self.transport.is_closing()

    def abort(self) -> None:
        """Abort the connection."""
        if self.transport is not None:
            self.transport.abort()
