"""Flow control of one connection: when its client is read from, and how replies are written."""

from __future__ import annotations

import socket
from typing import Any, Final

from prixfixe.smtp.proxy_header import MAX_OCTETS as MAX_HEADER_OCTETS

__all__ = [
    "BULK_OCTETS",
    "NARROW_OCTETS",
    "PAUSE_EARLY_OCTETS",
    "PAUSE_OCTETS",
    "TLS_BUFFER_OCTETS",
    "Flow",
]

# Buffered input at which the kernel's window is used instead; the longest line fits.
PAUSE_OCTETS: Final = 16384
PAUSE_EARLY_OCTETS: Final = MAX_HEADER_OCTETS  # the same ahead of the greeting: a whole header
BULK_OCTETS: Final = 131072  # in one read, after which others have their turn
NARROW_OCTETS: Final = 32768  # of the kernel's for a client that floods
# Encrypted input, and replies, at which TLS asks for a pause; two records of TLS fit.
TLS_BUFFER_OCTETS: Final = 32768


class Flow:
    """The transport of a connection, and whether its client is read from.

    `is_writing_paused` while the client does not read its replies. `is_at_end` once it will send
    no more. `is_resting` after a read so large that others come first.
    """

    __slots__ = (
        "_is_deaf",
        "_is_narrow",
        "is_at_end",
        "is_reading_paused",
        "is_resting",
        "is_writing_paused",
        "transport",
    )

    def __init__(self) -> None:
        self.transport: Any = None  # the transports of event loops have no common class
        self.is_at_end = False
        self.is_reading_paused = False
        self.is_resting = False
        self.is_writing_paused = False
        self._is_deaf = False  # reading stays paused, whatever else is so
        self._is_narrow = False  # whether the kernel holds less for this client

    def attach(self, transport: Any) -> None:  # noqa: ANN401 - as above
        """Use a transport from now on, which reads."""
        self.transport = transport
        self._is_deaf = self.is_reading_paused = False

    def bound_tls(self) -> None:
        """Bound the buffers of a TLS transport; its own bounds are made for fewer connections."""
        self.transport.set_read_buffer_limits(TLS_BUFFER_OCTETS)
        self.transport.set_write_buffer_limits(TLS_BUFFER_OCTETS)

    def detach(self) -> Any:  # noqa: ANN401 - as above
        """Return the transport, and have none."""
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
        """Read no more until it is this connection's turn."""
        self.is_resting = True

    def end_rest(self) -> None:
        """Note that it is this connection's turn."""
        self.is_resting = False

    def govern(self, *, is_full: bool, is_starved: bool) -> None:
        """Read from the client only while its input can be taken."""
        if self._is_deaf or self.is_at_end:
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
        """Read no more from this transport, whatever comes; the client may still read."""
        if not (self._is_deaf or self.transport is None or self.transport.is_closing()):
            self._is_deaf = True
            self.transport.pause_reading()

    def _narrow(self) -> None:
        """Have the kernel hold less of what a client sends faster than it can be worked on.

        One read may bring all that the kernel holds, and TLS makes several copies of that.
        """
        self._is_narrow = True
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_OCTETS)

    def write(self, output: list[bytes]) -> None:
        """Send replies in one write and empty the list: every byte to the client leaves here.

        No input is worked on while the client does not read, so what waits here are the replies of
        one slice of work at the most.
        """
        if output and self.transport is not None:
            self.transport.write(b"".join(output) if len(output) > 1 else output[0])
            output.clear()

    def is_open(self) -> bool:
        """Whether there is a transport that is not closing."""
        return self.transport is not None and not self.transport.is_closing()

    def abort(self) -> None:
        """End the connection without a word."""
        if self.transport is not None:
            self.transport.abort()
