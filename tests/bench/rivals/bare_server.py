"""The process: answers 250 to every command and finds the end of data, no more."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

END_OF_DATA = b"\r\n.\r\n"
REPLIES = {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
OK = b"250 OK\r\n"


class Bare(asyncio.Protocol):
    """One connection: no state but whether it is in DATA."""

    def connection_made(self, transport: Any) -> None:
        """Greet."""
        self.transport = transport
        self.tail: bytes | None = None  # of the data, while there is some
        transport.write(b"220 bare\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer a command, or the end of data; a segment holds one of them at most."""
        if self.tail is None:
            self.tail = b"" if data.startswith(b"DATA") else None
            self.transport.write(REPLIES.get(data[:4], OK))
        elif (self.tail + data[-5:]).endswith(END_OF_DATA):
            self.tail = None
            self.transport.write(OK)
        else:
            self.tail = (self.tail + data[-4:])[-4:]


async def serve() -> None:
    """Serve until killed, and say on which port."""
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0, backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
