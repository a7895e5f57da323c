"""A TCP proxy on the loopback that can stop forwarding, as a network that is cut does.

While it is cut, nothing passes and nothing is closed: whoever waits hears nothing, and a new
connection gets no answer. Whole again, it goes on where it stopped. A connection that was begun and
given up while it was cut goes nowhere: through a cut network, its first packet would not have come.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from typing import Self

__all__ = ["Wire"]

BACKLOG = 128


class Wire:
    """The way to one port of 127.0.0.1; clients use `port`."""

    def __init__(self, target: int) -> None:
        self._target = ("127.0.0.1", target)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.SelectorEventLoop()
        self._gate = asyncio.Event()
        self._gate.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._loop.call_soon_threadsafe(self._begin, self._accept())

    def cut(self) -> None:
        """Let nothing pass; it is so when this returns."""
        is_done = threading.Event()
        self._loop.call_soon_threadsafe(self._gate.clear)
        self._loop.call_soon_threadsafe(is_done.set)
        is_done.wait()

    def mend(self) -> None:
        """Let all pass."""
        self._loop.call_soon_threadsafe(self._gate.set)

    def close(self) -> None:
        """End all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # --- the thread

    def _begin(self, work: object) -> None:
        task = self._loop.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            await self._gate.wait()
            client, _ = await self._loop.sock_accept(self._listener)
            self._begin(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server, contextlib.suppress(ExceptionGroup, OSError):
            server.setblocking(False)
            await self._gate.wait()
            if _has_left(client):
                return
            await self._loop.sock_connect(server, self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(client, server))
                both.create_task(self._pump(server, client))

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        while data := await self._loop.sock_recv(source, 65536):
            await self._gate.wait()
            await self._loop.sock_sendall(sink, data)
        await self._gate.wait()
        sink.shutdown(socket.SHUT_WR)


def _has_left(client: socket.socket) -> bool:
    """Whether a client has closed, whatever it sent before."""
    look = select.poll()
    look.register(client, select.POLLRDHUP)
    return bool(look.poll(0))
