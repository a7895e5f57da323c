"""The thread of a server for tests, its event loop, and the server in it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import uvloop

# The HTTP side is imported with this module, and not in the time that a first test waits.
import prixfixe.http.server
import prixfixe.stores.index.file  # noqa: F401
from prixfixe.runtime import threads
from prixfixe.server.app import Server as App
from prixfixe.stores.memory import MemoryStore
from prixfixe.telemetry.log import build_log
from prixfixe.testing.access import Access
from prixfixe.testing.api_client import ApiClient
from prixfixe.testing.errors import KitError
from prixfixe.testing.quiet import Nowhere
from prixfixe.testing.sources import HttpSource, StoreSource

if TYPE_CHECKING:
    from prixfixe.server.app import Bound
    from prixfixe.settings import Settings
    from prixfixe.telemetry.sessions import OpenSession

__all__ = ["ServerThread"]

START_SECONDS = 30.0
STOP_SECONDS = 10.0


class ServerThread:
    """A server that runs; `bound` has its addresses, once `start` returned."""

    bound: Bound
    access: Access

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready: Future[tuple[App, Bound]] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._store_source: StoreSource | None = None
        self._thread = threading.Thread(target=self._run, name="prixfixe-server", daemon=True)

    def start(self) -> None:
        """Start the thread, and wait until it serves. Raises `KitError`."""
        self._thread.start()
        try:
            self._app, self.bound = self._ready.result(START_SECONDS)
        except Exception as error:
            self._thread.join(STOP_SECONDS)
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise KitError(f"the server does not start: {reason}") from error
        api = ApiClient(f"http://{self.bound.http}", self._settings.http_token)
        by_http = HttpSource(api)
        self.access = Access(self._source(self._app.store, by_http), api)

    def _source(self, store: object, by_http: HttpSource) -> StoreSource | HttpSource:
        """Read a store in memory directly, and others by the API."""
        if not isinstance(store, MemoryStore):
            return by_http
        source = self._store_source = StoreSource(store, by_http.delete, self._sessions)
        return source

    def stop(self) -> None:
        """End the server, and return when its threads have ended."""
        self.access.api.close()
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # It ended by itself.
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_SECONDS)
        for one in threads.started_by(self._thread):
            one.join(STOP_SECONDS)

    def _sessions(self) -> list[OpenSession]:
        """Return what clients are doing now."""
        if self._loop is None:
            return []

        async def look() -> list[OpenSession]:
            return self._app.roster.seen()

        return asyncio.run_coroutine_threadsafe(look(), self._loop).result(STOP_SECONDS)

    # --- the thread

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            if not self._ready.done():
                self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        log = build_log("error", "json", stream=Nowhere(), loop=self._loop)
        app = App(self._settings, log)
        bound = await app.start()
        telling = asyncio.create_task(self._tell_arrivals(app))
        self._ready.set_result((app, bound))
        try:
            await self._stopping.wait()
        finally:
            telling.cancel()
            await app.stop()

    async def _tell_arrivals(self, app: App) -> None:
        """Wake those who wait for mail."""
        with app.arrivals.subscribe() as subscription:
            while True:
                await subscription.arrived()
                if self._store_source is not None:
                    self._store_source.arrived()
