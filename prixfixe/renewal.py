"""Certificate and users while the server runs: read at the start, and again when they change.

Owns: who of the two is in use, looking for changes, and what is said of a renewal.
Promises: files are read in a thread, so that no session waits for a disk or a long users file; a
failed renewal keeps what is in use and says so in the log, in a metric and in readiness; nothing
that happens here ends the looking.
Refuses: the files themselves (see `tls`, `auth`) and deciding when to look.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from prixfixe.auth import Authenticator, AuthThrottle
from prixfixe.readiness import CheckResult
from prixfixe.reloading import ReloadResult
from prixfixe.tls import Certificates

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.logs import Log
    from prixfixe.metrics import Metrics
    from prixfixe.readiness import Readiness
    from prixfixe.settings import Settings

__all__ = ["Renewal"]


class Renewal:
    """The certificate and the users of one server.

    Raises:
        CertificateError: the pair cannot be served.
        UsersError: the users file cannot be used.

    """

    def __init__(
        self, settings: Settings, log: Log, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._one_at_a_time = asyncio.Lock()
        self.certificates = _certificates(settings)
        self.authenticator: Authenticator | None = None
        if settings.auth != "off":
            users = None if settings.auth == "any" else settings.auth_users
            self.authenticator = Authenticator(users, AuthThrottle(clock))
        self._tell_expiry()

    def add_checks(self, readiness: Readiness) -> None:
        """Make readiness depend on what is held."""
        for what, held in self._held().items():
            readiness.add(what, partial(_check, held))

    def _held(self) -> dict[str, Certificates | Authenticator]:
        both = {"tls": self.certificates, "auth": self.authenticator}
        return {what: held for what, held in both.items() if held is not None}

    async def poll(self) -> None:
        """Renew what changed since it was last read."""
        for what, held in self._held().items():
            await self._renew(what, held.poll)

    async def reload(self) -> None:
        """Renew everything (SIGHUP)."""
        self._log.say("reload")
        for what, held in self._held().items():
            await self._renew(what, held.reload)

    async def _renew(self, what: str, read: Callable[[], ReloadResult | None]) -> None:
        async with self._one_at_a_time:
            try:
                result = await asyncio.to_thread(read)
            except Exception as error:  # noqa: BLE001 - a defect must not end the looking
                self._log.unexpected(error)
                result = ReloadResult(ok=False, reason=type(error).__name__)
        if result is None:
            return
        self._metrics.reload(what, "ok" if result.ok else "error")
        if result.ok:
            self._log.say("reloaded", what=what)
        else:
            self._log.say("not reloaded", what=what, reason=result.reason)
        self._tell_expiry()

    def _tell_expiry(self) -> None:
        if self.certificates is not None:
            self._metrics.not_after = self.certificates.info.not_after

    def close(self) -> None:
        """Let go of the threads that check passwords."""
        if self.authenticator is not None:
            self.authenticator.close()


def _check(held: Certificates | Authenticator) -> CheckResult:
    return CheckResult(not held.error, held.error or "ok")


def _certificates(settings: Settings) -> Certificates | None:
    """Load the pair if a listener would use it."""
    is_used = settings.tls != "off" or settings.tls_port is not None
    if settings.tls_cert is None or not is_used:
        return None
    return Certificates(
        settings.tls_cert,
        settings.tls_key or "",
        min_version=settings.tls_min_version,
        domain=settings.domain,
    )
