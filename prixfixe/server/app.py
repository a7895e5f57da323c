"""The server: its parts, the order of start and stop, and the drain.

`Server.start` returns once every listener is bound. `Server.stop` loses no message that was or will
be answered 250.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from prixfixe import __version__
from prixfixe.connection.connection import Connection
from prixfixe.connection.reply_batch import ReplyBatch
from prixfixe.connection.roster import Roster
from prixfixe.connection.services import Services, session_ids
from prixfixe.connection.turns import Turns
from prixfixe.limits.admission import Admission
from prixfixe.limits.memory import Budget
from prixfixe.limits.timing import Limits, Shedding
from prixfixe.mail.message import IdSource
from prixfixe.server.listeners import (
    BACKLOG,
    bind_socket,
    format_address,
    is_listening,
    keep_replies_small,
    keep_requests_small,
)
from prixfixe.server.reload import Reloader, Source
from prixfixe.smtp.offer import RECIPIENT_OCTETS, Offer
from prixfixe.smtp.recipients import RecipientPolicy
from prixfixe.stores.arrivals import Arrivals
from prixfixe.stores.base import DiskOptions, StoreOptions
from prixfixe.stores.registry import is_lasting, named, open_store, shown
from prixfixe.telemetry.attempts import Attempts
from prixfixe.telemetry.metrics import Metrics
from prixfixe.telemetry.readiness import CheckResult, Readiness

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from prixfixe.connection.hooks import Hooks
    from prixfixe.faults.registry import Faults
    from prixfixe.http.server import HttpServer
    from prixfixe.settings import Settings
    from prixfixe.stores.base import Followed, Store
    from prixfixe.stores.index import Index
    from prixfixe.telemetry.log import Log

__all__ = ["Bound", "Server", "offer_of"]

LAG_SECONDS = 1.0
POLL_SECONDS = 1.0  # between checks of the certificate and users files
_ALL_ADDRESSES = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
CLOSE_SECONDS = 1.0  # for the store, if the drain took all the time
# While its dots are stuffed, a body may exceed the limit by a third, and by one read.
_STUFFED_NUMERATOR, _STUFFED_DENOMINATOR, _READ_OCTETS = 4, 3, 512 * 1024


class Bound(NamedTuple):
    """The addresses at which a started server listens, with their actual ports."""

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

    Tests and embedding programs may pass a `store` that is not open yet.
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
            disk=DiskOptions(settings.store_min_free, self.metrics.measured),
            on_operation=self.metrics.store_operation,
            on_retry=self.metrics.store_retry,
            on_pruned=self._pruned,
            quorum=settings.store_quorum,
            on_elsewhere=self._elsewhere,
            on_replicas=self.metrics.replicated,
            on_lost=self._lost,
        )
        self.store = store or open_store(settings.store, options)
        self._loop = asyncio.get_running_loop()
        self.arrivals = Arrivals()
        self.admission = Admission(
            settings.max_connections,
            max_per_peer=settings.max_connections_per_ip,
            max_per_minute=settings.max_connection_rate,
            clock=self._loop.time,
        )
        self.budget = _budget(settings)
        self.metrics.inflight = self._inflight
        self.roster = Roster(2 * settings.max_connections, settings.store_timeout)
        self.readiness = Readiness(self.store, self.metrics, self._loop.time)
        self.faults = _faults(settings)
        self._ids = IdSource()
        self.attempts = Attempts(self._ids)
        self.services: Services | None = None  # once the secrets are read
        self._listeners: list[asyncio.Server] = []
        self._housekeeping: list[asyncio.Task[None]] = []
        self._http: HttpServer | None = None
        self._index: Index | None = None
        self._reloader: Reloader | None = None
        self._hurry = asyncio.Event()

    def _inflight(self) -> tuple[int, int, int]:
        return self.budget.in_use, self.budget.total, self.budget.waiting

    def _load_handler(self) -> Hooks | None:
        """Return the hooks of SMTP_HANDLER, or None; without one, aiosmtpd is not imported."""
        if self._settings.handler is None:
            return None
        from prixfixe.handlers.loading import load

        return load(self._settings, self._log, self._loop)

    def _connect_services(self, reloader: Reloader) -> Services:
        """Return the parts that all connections share."""
        settings = self._settings
        return Services(
            loop=self._loop,
            store=self.store,
            metrics=self.metrics,
            arrivals=self.arrivals,
            admission=self.admission,
            budget=self.budget,
            roster=self.roster,
            ids=self._ids,
            session_ids=session_ids(),
            reply_batch=ReplyBatch(self._loop),
            turns=Turns(self._loop),
            log=self._log,
            limits=Limits(
                idle_seconds=settings.timeout,
                session_seconds=settings.max_session_time or math.inf,
                octets_per_second=settings.min_data_rate,
                store_seconds=settings.store_timeout,
            ),
            shedding=Shedding(settings.stress_timeout),
            invalidate=self.readiness.invalidate,
            attempts=self.attempts,
            certificates=reloader.certificates,
            authenticator=reloader.authenticator,
            proxy_networks=settings.proxy_protocol,
            faults=self.faults,
            hooks=self._load_handler(),
        )

    # --- start

    async def start(self) -> Bound:
        """Open the store and bind every listener; return the addresses.

        Raises:
            HandlerError: the handler cannot be used.
            CertificateError: the certificate and key cannot be served.
            UsersError: the users file cannot be used.
            StoreOpenError: the store cannot be opened.
            OSError: an address cannot be bound; the text names it.

        """
        reloader = self._reloader = await self._load_secrets()
        recovery = await self.store.open()
        self.metrics.recovered(recovery)
        if any(recovery):
            self._log.say("store recovered", **recovery._asdict())
        if self.faults is not None and is_lasting(self._settings.store):
            self._log.say("faults with a lasting store", store=self._settings.store)
        try:
            bound = await self._listen()
        except BaseException:
            await self._stop_listening()
            await self._close_index()
            await self.store.close()
            raise
        looks = [self._look_for_changes(reloader, source) for source in reloader.sources]
        self._housekeeping = [asyncio.create_task(work) for work in (self._measure_lag(), *looks)]
        return bound

    async def _load_secrets(self) -> Reloader:
        """Read certificate and users."""
        reloader = Reloader(self._log, self.metrics)
        await reloader.load(self._settings, self._loop.time)
        reloader.add_checks(self.readiness)
        self.services = self._connect_services(reloader)
        return reloader

    async def _listen(self) -> Bound:
        settings = self._settings
        offer = offer_of(settings)
        smtp = await self._listen_smtp(bind_socket(settings.bind, settings.port), offer, "smtp")
        smtps = None
        if settings.tls_port is not None:
            port = bind_socket(settings.bind, settings.tls_port)
            smtps = await self._listen_smtp(port, offer, "smtps")
        http = await self._listen_http(smtp)
        self.readiness.add("listeners", self._check_listeners)
        self.readiness.add("draining", self._check_draining)
        return Bound(smtp, smtps, http, shown(settings.store))

    async def _listen_smtp(self, listener: socket.socket, offer: Offer, name: str) -> str:
        services = self.services
        if services is None:
            raise RuntimeError("expected the services to be connected before a listener starts")
        keep_replies_small(listener)
        server = await self._loop.create_server(
            lambda: Connection(services, offer, name),
            sock=listener,
            backlog=BACKLOG,  # asyncio calls listen() again, with 100 by default
        )
        self._listeners.append(server)
        return format_address(listener.getsockname())

    async def _listen_http(self, smtp: str) -> str | None:
        if self._settings.http_port is None:
            return None
        from prixfixe.http.context import HttpContext
        from prixfixe.http.server import HttpServer

        self._index = self._start_index()
        self._http = HttpServer(
            HttpContext(
                store=self.store,
                open_reader=self.store.open_reader,
                metrics=self.metrics,
                arrivals=self.arrivals,
                readiness=self.readiness,
                expect_probe=self.admission.expect_probe,
                token=self._settings.http_token,
                hosts=(self._settings.domain, *self._settings.http_hosts),
                version=__version__,
                store_url=self._settings.store,
                index=self._index,
                faults=self.faults,
                has_page=self._settings.http_ui,
                attempts=self.attempts,
                offer=offer_of(self._settings),
                ids=self._ids,
                sessions=self.roster.seen,
                smtp=smtp,
            )
        )
        listener = bind_socket(self._settings.http_bind, self._settings.http_port)
        keep_replies_small(listener)
        keep_requests_small(listener)
        await self._http.start(listener)
        where = format_address(listener.getsockname())
        if self._settings.http_bind in _ALL_ADDRESSES and self._settings.http_token is None:
            self._log.say("http without token", http=where)
        return where

    def _start_index(self) -> Index | None:
        """Begin to follow the store, if it is one that can be followed."""
        from prixfixe.http.api.mailpit import RECORD_VERSION, described
        from prixfixe.stores.index import Index, IndexOptions

        _, technology, rest = named(self._settings.store)
        if technology.index_path is None:
            return None
        index = Index(
            IndexOptions(
                open_reader=lambda: cast("Followed", self.store.open_reader()),
                describe=described,
                version=RECORD_VERSION,
                path=technology.index_path(rest),
                min_free=self._settings.store_min_free,
                say=self._say_later,
            )
        )
        index.start()
        self.arrivals.follower = index.arrived
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

    def _elsewhere(self, ids: Sequence[str]) -> None:
        """Take notice of what another server of the store did; in any thread."""
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            self._loop.call_soon_threadsafe(self._announce, ids)

    def _lost(self, count: int) -> None:
        """Tell that acknowledged mail is gone; in any thread."""
        self.metrics.lost(count)
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            say = functools.partial(self._log.say, "store lost mail", lost=count)
            self._loop.call_soon_threadsafe(say)

    def _announce(self, ids: Sequence[str]) -> None:
        if self._index is not None:
            self._index.changed()
        self.arrivals.announce(ids)

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

    def _check_listeners(self) -> CheckResult:
        sockets = [one for listener in self._listeners for one in listener.sockets]
        is_open = (
            bool(sockets)
            and all(listener.is_serving() for listener in self._listeners)
            and all(map(is_listening, sockets))
        )
        return CheckResult(is_open, "ok" if is_open else "a listener is closed")

    def _check_draining(self) -> CheckResult:
        is_draining = self.roster.is_draining
        return CheckResult(not is_draining, "shutting down" if is_draining else "ok")

    # --- running

    async def _measure_lag(self) -> None:
        while True:
            due = self._loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.metrics.loop_lag(max(0.0, self._loop.time() - due))

    async def _look_for_changes(self, reloader: Reloader, source: Source) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await reloader.poll(source)

    async def reload(self) -> None:
        """Read certificate and users again (SIGHUP)."""
        if self._reloader is not None:
            await self._reloader.reload()

    # --- stop

    def hurry(self) -> None:
        """End the drain now; `stop` then aborts the remaining connections."""
        self._hurry.set()

    async def stop(self) -> None:
        """Close the listeners, finish current messages until the deadline, close everything."""
        until = self._loop.time() + self._settings.shutdown_timeout
        self.roster.is_draining = self.metrics.draining = True
        await self._stop_listening()
        self.roster.drain()
        await self._wait_for_connections()
        self.roster.abort()
        self.arrivals.close()
        await self._close_store(until)
        if self._reloader is not None:
            self._reloader.close()
        if self._http is not None:
            await self._http.stop()
        await self._close_index()
        for task in self._housekeeping:
            task.cancel()

    async def _close_store(self, until: float) -> None:
        """Close the store within the rest of the grace period: a dead disk may never answer."""
        now = self._loop.time()
        until = now if self._hurry.is_set() else until
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(until, now + CLOSE_SECONDS)):
                await self.store.close()

    async def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def _close_index(self) -> None:
        if self._index is not None:
            await self._index.close()

    async def _wait_for_connections(self) -> None:
        waits = [asyncio.create_task(one.wait()) for one in (self.roster.is_empty, self._hurry)]
        timeout = self._settings.shutdown_timeout
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def offer_of(settings: Settings) -> Offer:
    """Return the offer of a listener with these settings."""
    return Offer(
        domain=settings.domain,
        max_message_size=settings.max_message_size,
        max_recipients=settings.max_recipients,
        max_errors=settings.max_errors,
        max_messages=settings.max_messages or math.inf,
        is_strict=settings.strict,
        takes_bare_lf=settings.bare_lf == "accept",
        recipients=RecipientPolicy(settings.recipients),
        offers_tls=settings.tls != "off" and settings.tls_cert is not None,
        requires_tls=settings.tls == "required",
        offers_auth=settings.auth != "off",
        requires_auth=settings.auth == "required",
        allows_clear_auth=settings.auth_insecure,
        has_faults=settings.faults,
    )


def _faults(settings: Settings) -> Faults | None:
    """Return the faults of a server that may have some; they hold half of its connections."""
    if not settings.faults:
        return None
    from prixfixe.faults.registry import Faults

    return Faults(max(1, settings.max_connections // 2))


def _budget(settings: Settings) -> Budget:
    """Return the memory budget, with room for at least one message of the largest size."""
    most = settings.max_message_size * _STUFFED_NUMERATOR // _STUFFED_DENOMINATOR + _READ_OCTETS
    most += settings.max_recipients * RECIPIENT_OCTETS
    return Budget(max(settings.max_inflight, most), most)
