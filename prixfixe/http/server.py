"""The HTTP listener inside the server's event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prixfixe.http.api.mailbox import Mailbox
from prixfixe.http.app import build_app
from prixfixe.http.connection import Connections, HttpConnection
from prixfixe.http.turns import Turns
from prixfixe.http.wire import Wire

if TYPE_CHECKING:
    import socket

    from prixfixe.http.context import HttpContext

__all__ = ["HttpServer"]

BACKLOG = 128
STOP_SECONDS = 2


class HttpServer:
    """One HTTP listener."""

    def __init__(self, context: HttpContext) -> None:
        self._loop = asyncio.get_running_loop()
        self._mailbox = Mailbox(context.open_reader, context.index)
        self._app = build_app(context, self._mailbox)
        self._metrics = context.metrics
        self._turns = Turns(self._loop)
        self._server: asyncio.Server | None = None
        self.connections = Connections()

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket."""
        self._server = await self._loop.create_server(
            self._make_wire, sock=listener, backlog=BACKLOG
        )

    def _make_wire(self) -> Wire:
        speaker = HttpConnection(self._app, self.connections, self._metrics, self._loop)
        return Wire(speaker, self._turns, self._loop)

    def is_serving(self) -> bool:
        """Whether the listener is open."""
        return self._server is not None and self._server.is_serving()

    async def stop(self) -> None:
        """Finish what is being answered, as far as it takes no longer than allowed, then close."""
        self._mailbox.is_stopping = True
        if self._server is not None:
            self._server.close()
            await self.connections.finish(STOP_SECONDS)
        await self._mailbox.close()
