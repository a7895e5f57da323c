"""Loading of certificate and users at the start, and again when their files change.

Each is read in a thread of its own, so that no session waits for a disk. A reload that fails or
does not end leaves the present one in use, and is reported in the log, a metric and readiness.
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

__all__ = ["Reloader", "Source"]

SLOW_READ_SECONDS = 10.0  # a read that takes longer is reported

H = TypeVar("H", Certificates, Authenticator)


class Source:
    """The certificate or the users, and the thread that reads its files."""

    def __init__(self, what: str, held: Certificates | Authenticator, worker: Worker) -> None:
        self.what = what
        self.held = held
        self.worker = worker
        self.one_at_a_time = asyncio.Lock()
        self.trouble = ""  # set while a read takes too long

    def check(self) -> CheckResult:
        """Return whether the files on disk are in use."""
        error = self.trouble or self.held.error
        return CheckResult(not error, error or "ok")


class Reloader:
    """The certificate and the users of one server, after `load`."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self.sources: list[Source] = []
        self.certificates: Certificates | None = None
        self.authenticator: Authenticator | None = None
        self._logged: CertificateInfo | None = None

    async def load(self, settings: Settings, clock: Callable[[], float]) -> None:
        """Read the certificate and the users, if the settings use them.

        Raises:
            CertificateError: certificate and key cannot be served.
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
                on_lockout=self._log.logins_locked_out,
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
        """Add a readiness check for each source."""
        for source in self.sources:
            readiness.add(source.what, source.check)

    async def poll(self, source: Source) -> None:
        """Reload the source if its files changed since they were last read."""
        await self._read_again(source, source.held.poll)

    async def reload(self) -> None:
        """Reload everything (SIGHUP)."""
        self._log.say("reload")
        await asyncio.gather(*(self._reload(source) for source in self.sources))

    async def _reload(self, source: Source) -> None:
        if source.trouble:  # Report it now: the read that is stuck may never end.
            self._tell(source, ReloadResult(ok=False, reason=source.trouble))
        else:
            await self._read_again(source, source.held.reload)

    async def _read_again(self, source: Source, read: Callable[[], ReloadResult | None]) -> None:
        async with source.one_at_a_time:
            try:
                result = await self._read(source, read)
            except Exception as error:  # noqa: BLE001 - a defect must not end the polling
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
            done, _ = await asyncio.wait({reading}, timeout=SLOW_READ_SECONDS)
            if not done:
                source.trouble = f"reading has not ended after {SLOW_READ_SECONDS:g} seconds"
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
        """Log each certificate once when it comes into use, with its names and expiry."""
        info = None if self.certificates is None else self.certificates.info
        if info is None or info == self._logged:
            return
        self._logged = info
        self._metrics.not_after = info.not_after
        is_over = info.not_after <= time.time()
        about = {"names": ", ".join(info.names), "expires": _moment(info.not_after)}
        self._log.say("certificate expired" if is_over else "certificate in use", **about)

    def close(self) -> None:
        """End the threads without waiting for a read."""
        for source in self.sources:
            source.worker.shutdown()
        if self.authenticator is not None:
            self.authenticator.close()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
