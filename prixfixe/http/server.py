"""uvicorn, started and stopped inside an event loop that is not its own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from prixfixe.http.api.mailbox import Mailbox
from prixfixe.http.app import build_app
from prixfixe.http.turns import Turns
from prixfixe.http.uvicorn_connection import make_wire

if TYPE_CHECKING:
    import socket

    from prixfixe.http.context import HttpContext

__all__ = ["HttpServer"]

MAX_HEADER_OCTETS = 16 * 1024
KEEP_ALIVE_SECONDS = 5
STOP_SECONDS = 2


class HttpServer:
    """One HTTP listener."""

    def __init__(self, context: HttpContext) -> None:
        self._mailbox = Mailbox(context.open_reader, context.index)
        turns = Turns(asyncio.get_running_loop())
        config = uvicorn.Config(
            build_app(context, self._mailbox),
            loop="none",
            http=partial(make_wire, metrics=context.metrics, turns=turns),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=128,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MAX_HEADER_OCTETS,
        )
        config.load()
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.lifespan = config.lifespan_class(config)
        self._socket: socket.socket | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket."""
        self._socket = listener
        await self._uvicorn.startup(sockets=[listener])

    def is_serving(self) -> bool:
        """Whether the listener is open."""
        return any(server.is_serving() for server in self._uvicorn.servers)

    async def stop(self) -> None:
        """Finish what is being answered, as far as it takes no longer than allowed, then close."""
        self._mailbox.is_stopping = True
        if self._socket is not None:
            self._uvicorn.should_exit = True
            await self._uvicorn.shutdown(sockets=[self._socket])
        await self._mailbox.close()
