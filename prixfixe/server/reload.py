"""Certificate and users while the server runs: read at the start, and again when they change.

Owns: who of the two is in use, looking for changes, and what is said of a renewal.
Promises: each of the two is read in a thread that nobody waits for, so that no session, no stop and
not the other one waits for a disk or a long users file; a renewal that failed or does not end keeps
what is in use and says so in the log, in a metric and in readiness; nothing that happens here ends
the looking.
Refuses: the files themselves (see `tls`, `auth`) and deciding when to look.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from prixfixe.auth.authenticator import Authenticator, AuthThrottle
from prixfixe.runtime.watch import ReloadResult
from prixfixe.runtime.worker import Worker
from prixfixe.telemetry.readiness import CheckResult
from prixfixe.tls.certificates import CertificateInfo, Certificates

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.settings import Settings
    from prixfixe.telemetry.log import Log
    from prixfixe.telemetry.metrics import Metrics
    from prixfixe.telemetry.readiness import Readiness

__all__ = ["Renewal", "Source"]

PATIENCE_SECONDS = 10.0  # a disk that takes longer is reported

H = TypeVar("H", Certificates, Authenticator)


class Source:
    """One of the two, and the thread that reads its files."""

    def __init__(self, what: str, held: Certificates | Authenticator, worker: Worker) -> None:
        self.what = what
        self.held = held
        self.worker = worker
        self.one_at_a_time = asyncio.Lock()
        self.trouble = ""  # why the reading under way has not ended

    def check(self) -> CheckResult:
        """Tell whether what is on disk is in use."""
        error = self.trouble or self.held.error
        return CheckResult(not error, error or "ok")


class Renewal:
    """The certificate and the users of one server, once `load` has read them."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self.sources: list[Source] = []
        self.certificates: Certificates | None = None
        self.authenticator: Authenticator | None = None
        self._told: CertificateInfo | None = None

    async def load(self, settings: Settings, clock: Callable[[], float]) -> None:
        """Read what is used.

        Raises:
            CertificateError: the pair cannot be served.
            UsersError: the users file cannot be used.

        """
        is_tls_used = settings.tls != "off" or settings.tls_port is not None
        if settings.tls_cert is not None and is_tls_used:
            pair = partial(
                Certificates,
                settings.tls_cert,
                settings.tls_key or "",
                min_version=settings.tls_min_version,
                domain=settings.domain,
            )
            self.certificates = await self._load("tls", pair)
        if settings.auth != "off":
            path = None if settings.auth == "any" else settings.auth_users
            throttle = AuthThrottle(
                clock,
                max_failures=settings.auth_max_failures,
                seconds=settings.auth_lockout_time,
                tell=self._log.logins_locked_out,
            )
            users = partial(Authenticator, path, throttle)
            self.authenticator = await self._load("auth", users)
        self._tell_certificate()

    async def _load(self, what: str, read: Callable[[], H]) -> H:
        worker = Worker(f"renew-{what}")
        held = await asyncio.get_running_loop().run_in_executor(worker, read)
        self.sources.append(Source(what, held, worker))
        return held

    def add_checks(self, readiness: Readiness) -> None:
        """Make readiness depend on what is held."""
        for source in self.sources:
            readiness.add(source.what, source.check)

    async def poll(self, source: Source) -> None:
        """Renew what changed since it was last read."""
        await self._renew(source, source.held.poll)

    async def reload(self) -> None:
        """Renew everything (SIGHUP)."""
        self._log.say("reload")
        await asyncio.gather(*(self._reload(source) for source in self.sources))

    async def _reload(self, source: Source) -> None:
        if source.trouble:  # To wait too would be silence.
            self._tell(source, ReloadResult(ok=False, reason=source.trouble))
        else:
            await self._renew(source, source.held.reload)

    async def _renew(self, source: Source, read: Callable[[], ReloadResult | None]) -> None:
        async with source.one_at_a_time:
            try:
                result = await self._read(source, read)
            except Exception as error:  # noqa: BLE001 - a defect must not end the looking
                self._log.unexpected(error)
                result = ReloadResult(ok=False, reason=type(error).__name__)
        if result is not None:
            self._tell(source, result)
            self._tell_certificate()

    async def _read(
        self, source: Source, read: Callable[[], ReloadResult | None]
    ) -> ReloadResult | None:
        reading = asyncio.get_running_loop().run_in_executor(source.worker, read)
        try:
            done, _ = await asyncio.wait({reading}, timeout=PATIENCE_SECONDS)
            if not done:
                source.trouble = f"reading has not ended after {PATIENCE_SECONDS:g} seconds"
                self._tell(source, ReloadResult(ok=False, reason=source.trouble))
            return await reading
        finally:
            source.trouble = ""

    def _tell(self, source: Source, result: ReloadResult) -> None:
        self._metrics.reload(source.what, "ok" if result.ok else "error")
        if result.ok:
            self._log.say("reloaded", what=source.what)
        else:
            self._log.say("not reloaded", what=source.what, reason=result.reason)

    def _tell_certificate(self) -> None:
        """Tell once of each that comes into use: whom it names and when it ends."""
        info = None if self.certificates is None else self.certificates.info
        if info is None or info == self._told:
            return
        self._told = info
        self._metrics.not_after = info.not_after
        is_over = info.not_after <= time.time()
        about = {"names": ", ".join(info.names), "expires": _moment(info.not_after)}
        self._log.say("certificate expired" if is_over else "certificate in use", **about)

    def close(self) -> None:
        """Let go of the threads, those that read whatever they are at."""
        for source in self.sources:
            source.worker.shutdown()
        if self.authenticator is not None:
            self.authenticator.close()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
