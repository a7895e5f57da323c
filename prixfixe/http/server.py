"""uvicorn inside a loop that is not its own.

Owns: starting and stopping uvicorn on a socket that is already bound.
Promises: no signal handler, no logging configuration and no ticking main loop of uvicorn's.
Refuses: paths; see `app`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from prixfixe.http.api.mailbox import Mailbox
from prixfixe.http.app import build_app
from prixfixe.http.turns import Turns
from prixfixe.http.uvicorn_connection import make_wire
from prixfixe.server.listeners import keep_replies_small, keep_requests_small

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from prixfixe.stores.arrivals import Arrivals
    from prixfixe.stores.base import Reader, Store
    from prixfixe.stores.index import Index
    from prixfixe.telemetry.metrics import Metrics
    from prixfixe.telemetry.readiness import Readiness

__all__ = ["HttpContext", "HttpServer"]

MAX_HEADER_OCTETS = 16 * 1024
KEEP_ALIVE_SECONDS = 5
STOP_SECONDS = 2


@dataclass(frozen=True, slots=True)
class HttpContext:
    """What the paths need of the server; `open_reader` is called in the reading thread."""

    store: Store
    open_reader: Callable[[], Reader]
    metrics: Metrics
    arrivals: Arrivals
    readiness: Readiness
    expect_probe: Callable[[int], None]
    token: str | None
    hosts: tuple[str, ...]
    version: str
    store_url: str
    index: Index | None = None

    @property
    def store_kind(self) -> str:
        """What kind of store it is, not where."""
        return self.store_url.partition(":")[0]


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
        keep_replies_small(listener)
        keep_requests_small(listener)
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
