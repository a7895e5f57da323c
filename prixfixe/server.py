"""The server: start order and drain.

Owns: the life of everything else. Start: certificate and users, store, listeners, HTTP. Stop: not
ready, listeners closed, 421 to idle sessions, messages under way finished until the deadline, store
closed.
Promises: `start` returns only when every listener is bound; stopping loses no message that was or
will be answered 250; `hurry` ends the drain.
Refuses: SMTP, HTTP and storage themselves, and the process (see `process`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from prixfixe import __version__
from prixfixe.arrivals import Arrivals
from prixfixe.budget import Budget
from prixfixe.limits import Admission
from prixfixe.listeners import BACKLOG, bind_socket, is_listening, keep_replies_small, written
from prixfixe.message import IdSource
from prixfixe.metrics import Metrics
from prixfixe.readiness import CheckResult, Readiness
from prixfixe.renewal import Renewal, Source
from prixfixe.session import Connection, Context, Limits, Outbox, Shedding, Terms, session_ids
from prixfixe.stores import StoreOptions, open_reader, open_store

if TYPE_CHECKING:
    import socket

    from prixfixe.http import HttpServer
    from prixfixe.index import Index
    from prixfixe.logs import Log
    from prixfixe.settings import Settings
    from prixfixe.stores.base import Followed, Reader, Store

__all__ = ["Bound", "Server"]

LAG_SECONDS = 1.0
POLL_SECONDS = 1.0  # how often certificate and users file are looked at
CLOSE_SECONDS = 1.0  # for the store, when the drain took all the time there was
# A body may hold a third more than the limit while dots are stuffed, and what one read brings.
_STUFFED_NUMERATOR, _STUFFED_DENOMINATOR, _READ_OCTETS = 4, 3, 512 * 1024


class Bound(NamedTuple):
    """Where a started server listens, ports as they really are."""

    smtp: str
    smtps: str | None
    http: str | None
    store: str

    def line(self) -> str:
        """Return the ready line."""
        extra = f" smtps={self.smtps}" if self.smtps else ""
        return (
            f"prixfixe ready smtp={self.smtp}{extra} http={self.http or 'off'} store={self.store}"
        )


class Server:
    """One server in the running event loop.

    `store` may be given opened by nobody yet, for tests and for embedding.
    """

    def __init__(self, settings: Settings, log: Log, store: Store | None = None) -> None:
        self._settings = settings
        self._log = log
        self.metrics = Metrics(
            version=__version__,
            revision=os.environ.get("PRIXFIXE_REVISION", "unknown"),
            store=settings.store,
            max_connections=settings.max_connections,
        )
        self.metrics.min_free = settings.store_min_free
        log.count_with(self.metrics.log_record)
        options = StoreOptions(
            max_messages=settings.store_max_messages,
            max_age=settings.store_max_age,
            min_free=settings.store_min_free,
            on_operation=self.metrics.store_operation,
            on_retry=self.metrics.store_retry,
            on_pruned=self._pruned,
            on_space=self.metrics.measured,
        )
        self.store = store or open_store(settings.store, options)
        self._loop = asyncio.get_running_loop()
        self.context = self._context()
        self.readiness = Readiness(self.store, self.metrics, self._loop.time)
        self.context.doubt = self.readiness.doubt
        self._listeners: list[asyncio.Server] = []
        self._housekeeping: list[asyncio.Task[None]] = []
        self._http: HttpServer | None = None
        self._index: Index | None = None
        self._renewal: Renewal | None = None
        self._hurry = asyncio.Event()

    def _context(self) -> Context:
        settings = self._settings
        most = settings.max_message_size * _STUFFED_NUMERATOR // _STUFFED_DENOMINATOR + _READ_OCTETS
        budget = Budget(max(settings.max_inflight, most), most)
        self.metrics.inflight = lambda: (budget.in_use, budget.total, budget.waiting)
        return Context(
            loop=self._loop,
            store=self.store,
            metrics=self.metrics,
            arrivals=Arrivals(),
            admission=Admission(
                settings.max_connections,
                max_per_peer=settings.max_connections_per_ip,
                max_per_minute=settings.max_connection_rate,
                clock=self._loop.time,
            ),
            budget=budget,
            ids=IdSource(),
            session_ids=session_ids(),
            outbox=Outbox(self._loop),
            log=self._log,
            limits=Limits(
                idle_seconds=settings.timeout,
                session_seconds=settings.max_session_time or math.inf,
                octets_per_second=settings.min_data_rate,
                store_seconds=settings.store_timeout,
            ),
            shedding=Shedding(settings.stress_timeout),
            max_pending=2 * settings.max_connections,
            proxy_networks=settings.proxy_protocol,
        )

    # --- start

    async def start(self) -> Bound:
        """Open the store, bind every listener, and say where.

        Raises:
            StoreOpenError: the store cannot be opened.
            OSError: an address cannot be bound; the text names it.

        """
        renewal = self._renewal = await self._load_secrets()
        recovery = await self.store.open()
        self.metrics.recovered(recovery)
        if any(recovery):
            self._log.say("store recovered", **recovery._asdict())
        try:
            bound = await self._listen()
        except BaseException:
            await self._stop_listening()
            await self.store.close()
            raise
        looks = [self._look_for_changes(renewal, source) for source in renewal.sources]
        self._housekeeping = [asyncio.create_task(work) for work in (self._measure_lag(), *looks)]
        return bound

    async def _load_secrets(self) -> Renewal:
        """Read certificate and users. Raises `CertificateError` or `UsersError`."""
        renewal = Renewal(self._log, self.metrics)
        await renewal.load(self._settings, self._loop.time)
        renewal.add_checks(self.readiness)
        self.context.certificates = renewal.certificates
        self.context.authenticator = renewal.authenticator
        return renewal

    async def _listen(self) -> Bound:
        settings = self._settings
        terms = Terms(settings)
        smtp = await self._listen_smtp(bind_socket(settings.bind, settings.port), terms, "smtp")
        smtps = None
        if settings.tls_port is not None:
            port = bind_socket(settings.bind, settings.tls_port)
            smtps = await self._listen_smtp(port, terms, "smtps")
        http = await self._listen_http()
        self.readiness.add("listeners", self._check_listeners)
        self.readiness.add("draining", self._check_draining)
        return Bound(smtp, smtps, http, settings.store)

    async def _listen_smtp(self, listener: socket.socket, terms: Terms, name: str) -> str:
        context = self.context
        keep_replies_small(listener)
        server = await self._loop.create_server(
            lambda: Connection(context, terms, name),
            sock=listener,
            backlog=BACKLOG,  # it listens once more, with 100 if it is not told
        )
        self._listeners.append(server)
        return written(listener.getsockname())

    async def _listen_http(self) -> str | None:
        if self._settings.http_port is None:
            return None
        from prixfixe.http import HttpContext, HttpServer

        context = self.context
        self._index = self._start_index()
        self._http = HttpServer(
            HttpContext(
                store=self.store,
                open_reader=self._open_reader,
                metrics=self.metrics,
                arrivals=context.arrivals,
                readiness=self.readiness,
                expect_probe=context.admission.expect_probe,
                token=self._settings.http_token,
                version=__version__,
                store_url=self._settings.store,
                index=self._index,
            )
        )
        listener = bind_socket(self._settings.http_bind, self._settings.http_port)
        await self._http.start(listener)
        return written(listener.getsockname())

    def _start_index(self) -> Index | None:
        """Begin to follow the store, if it is one that can be followed."""
        from prixfixe.http.mailpit import RECORD_VERSION, described
        from prixfixe.index import Index, IndexOptions
        from prixfixe.index.file import is_followed, path_of

        url = self._settings.store
        if not is_followed(url):
            return None
        index = Index(
            IndexOptions(
                open_reader=lambda: cast("Followed", self._open_reader()),
                describe=described,
                version=RECORD_VERSION,
                path=path_of(url),
                is_named=url.startswith("maildir:"),
                min_free=self._settings.store_min_free,
                say=self._say_later,
            )
        )
        index.start()
        self.context.arrivals.follower = index.arrived
        self.readiness.add_note("index", self._check_index)
        return index

    def _say_later(self, event: str, **fields: object) -> None:
        """Write a record from another thread."""
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            self._loop.call_soon_threadsafe(partial(self._log.say, event, **fields))

    def _pruned(self, count: int) -> None:
        self.metrics.pruned(count)
        if self._index is not None:
            self._index.changed()

    def _check_index(self) -> CheckResult:
        """Tell how far the index is; mail is taken without it."""
        if self._index is None:
            return CheckResult(is_ok=True)
        progress = self._index.progress
        words = f"{progress.messages} messages indexed"
        if progress.trouble:
            return CheckResult(is_ok=True, detail=f"stopped: {progress.trouble}")
        if not progress.is_in_step:
            return CheckResult(is_ok=True, detail=f"catching up: {words}")
        more = f", {progress.unfed} with words to come" if progress.unfed else ""
        return CheckResult(is_ok=True, detail=f"ok: {words}{more}")

    def _open_reader(self) -> Reader:
        return open_reader(self._settings.store, self.store)

    def _check_listeners(self) -> CheckResult:
        sockets = [one for listener in self._listeners for one in listener.sockets]
        is_open = (
            bool(sockets)
            and all(listener.is_serving() for listener in self._listeners)
            and all(map(is_listening, sockets))
        )
        return CheckResult(is_open, "ok" if is_open else "a listener is closed")

    def _check_draining(self) -> CheckResult:
        is_draining = self.context.is_draining
        return CheckResult(not is_draining, "shutting down" if is_draining else "ok")

    # --- running

    async def _measure_lag(self) -> None:
        while True:
            due = self._loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.metrics.loop_lag(max(0.0, self._loop.time() - due))

    async def _look_for_changes(self, renewal: Renewal, source: Source) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await renewal.poll(source)

    async def reload(self) -> None:
        """Read certificate and users again (SIGHUP)."""
        if self._renewal is not None:
            await self._renewal.reload()

    # --- stop

    def hurry(self) -> None:
        """End the drain now."""
        self._hurry.set()

    async def stop(self) -> None:
        """Drain: finish what is under way, then let go of everything."""
        context = self.context
        until = self._loop.time() + self._settings.shutdown_timeout
        context.is_draining = self.metrics.draining = True
        await self._stop_listening()
        for session in list(context.sessions):
            session.drain()
        await self._wait_for_sessions()
        for session in list(context.sessions):
            session.abort()
        context.arrivals.close()
        await self._close_store(until)
        if self._renewal is not None:
            self._renewal.close()
        if self._http is not None:
            await self._http.stop()
        if self._index is not None:
            await self._index.close()
        for task in self._housekeeping:
            task.cancel()

    async def _close_store(self, until: float) -> None:
        """Give the store what is left of the grace period: a dead disk never lets go."""
        now = self._loop.time()
        until = now if self._hurry.is_set() else until
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(until, now + CLOSE_SECONDS)):
                await self.store.close()

    async def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def _wait_for_sessions(self) -> None:
        context = self.context
        if not context.sessions:
            return
        waits = [asyncio.create_task(one.wait()) for one in (context.no_sessions, self._hurry)]
        timeout = self._settings.shutdown_timeout
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
