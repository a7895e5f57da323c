"""The client's end of a connection: send bytes and read whole replies, with deadlines.

`reply` returns one reply exactly as it was received. No call waits longer than its deadline.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["DEADLINE", "ClosedError", "Link", "Wire"]

DEADLINE = 20.0  # seconds; generous, because machines are busy
READ_OCTETS = 65536
# A header's first line, or the end of a message that is to be empty.
_HEADED = re.compile(rb"[!-9;-~]+:|\.\r\n")


class ClosedError(Exception):
    """The server ended the connection; `is_clean` tells a FIN from a reset."""

    def __init__(self, *, is_clean: bool) -> None:
        super().__init__("connection ended" if is_clean else "connection reset")
        self.is_clean = is_clean


class Link(Protocol):
    """What a dialogue needs of a connection."""

    def send(self, octets: bytes, *, by_octet: bool = False) -> None:
        """Send in one segment, or in segments of one octet."""
        ...

    def reply(self) -> bytes:
        """Return the next reply, all its lines; raise `ClosedError` when there is none."""
        ...

    def has_more(self, seconds: float) -> bool:
        """Whether octets or the end of the connection come within this time."""
        ...

    def end(self) -> bool:
        """Wait for the end of the connection and return whether it was clean."""
        ...

    def finish(self) -> None:
        """Close the sending side."""
        ...

    def reset(self) -> None:
        """Close as a crash does."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Wire:
    """A link over a TCP socket."""

    def __init__(
        self,
        address: tuple[str, int],
        source: str = "",
        deadline: float = DEADLINE,
        window: int = 0,
    ) -> None:
        self.socket = socket.socket()
        try:
            if window:  # Before connecting: it is offered with the SYN.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            if source:
                self.socket.bind((source, 0))
            self.socket.settimeout(deadline)
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.deadline = deadline
        self.buffer = b""
        self.segments = 0
        self.takes_batches = True
        self.preface = b""  # sent before a message without a header
        self.is_message_due = False
        self.note: Callable[[str, bytes], None] | None = None  # told of each move

    def send(self, octets: bytes, *, by_octet: bool = False) -> None:
        if self.is_message_due and self.preface and not _HEADED.match(octets):
            octets = self.preface + octets
        self.is_message_due = False
        if self.note is not None:
            self.note("C", octets)
        step = 1 if by_octet else max(len(octets), 1)
        # A server may say why and close before it has read everything.
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(octets), step):
                self.socket.sendall(octets[at : at + step])

    def _fill(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing for {self.deadline} s after {self.buffer[-200:]!r}")
        self.socket.settimeout(left)
        try:
            octets = self.socket.recv(READ_OCTETS)
        except ConnectionError as error:
            raise ClosedError(is_clean=False) from error
        if not octets:
            raise ClosedError(is_clean=True)
        self.segments += 1
        self.buffer += octets

    def reply(self) -> bytes:
        until = time.monotonic() + self.deadline
        lines = b""
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if not found:
                self._fill(until)
                continue
            self.buffer = rest
            lines += line + found
            if line[3:4] != b"-":
                self.is_message_due = lines[:3] == b"354"
                if self.note is not None:
                    self.note("S", lines)
                return lines

    def replies(self, count: int) -> list[int]:
        """Return the codes of the next replies."""
        return [int(self.reply()[:3]) for _ in range(count)]

    def ask(self, octets: bytes, count: int = 1) -> list[int]:
        """Send and return the codes of that many replies.

        To a server that takes no batches each line is sent when the one before was answered.
        """
        if self.takes_batches or count == 1 or count != octets.count(b"\r\n"):
            self.send(octets)
            return self.replies(count)
        return [self.ask(line)[0] for line in octets.splitlines(keepends=True)]

    def rest(self) -> bytes:
        """Return everything up to the end of the connection, however it ends."""
        until = time.monotonic() + self.deadline
        with contextlib.suppress(ClosedError):
            while True:
                self._fill(until)
        octets, self.buffer = self.buffer, b""
        return octets

    def has_more(self, seconds: float) -> bool:
        return bool(self.buffer or select.select([self.socket], [], [], seconds)[0])

    def end(self) -> bool:
        until = time.monotonic() + self.deadline
        while not self.buffer:
            try:
                self._fill(until)
            except ClosedError as closed:
                return closed.is_clean
        raise AssertionError(f"expected the end, not {self.buffer[:200]!r}")

    def start_tls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        """Shake hands."""
        self.socket.settimeout(self.deadline)
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
