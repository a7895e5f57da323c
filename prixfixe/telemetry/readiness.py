"""The checks behind `/readyz`: listeners, store, TLS pair, users, draining.

The store is checked by a write, at most every few seconds and after each message it failed. Load is
not checked: a busy server is ready.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from prixfixe.stores.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prixfixe.stores.base import Store
    from prixfixe.telemetry.metrics import Metrics

__all__ = ["DETAILS", "CheckResult", "Readiness"]

FRESH_SECONDS = 5.0  # the result of a store check is reused this long
ANSWER_SECONDS = 4.0  # for the store; less than the timeout of a health check
DETAILS = {
    "full": "no room",
    "quorum": "too few synchronous standbys",
    "displaced": "a file of it was removed, moved, cut or replaced",
}


class CheckResult(NamedTuple):
    """The result of one check, with a text for people."""

    is_ok: bool
    detail: str = "ok"


class Readiness:
    """The readiness checks of one server."""

    def __init__(self, store: Store, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._checks: dict[str, Callable[[], CheckResult]] = {}
        self._notes: dict[str, Callable[[], CheckResult]] = {}
        self._verdict = CheckResult(is_ok=False, detail="not probed yet")
        self._probed_at = float("-inf")
        self._probing: asyncio.Task[None] | None = None

    def add(self, name: str, check: Callable[[], CheckResult]) -> None:
        """Add a check."""
        self._checks[name] = check

    def add_note(self, name: str, check: Callable[[], CheckResult]) -> None:
        """Add a check that is reported but does not affect readiness."""
        self._notes[name] = check

    def notes(self) -> dict[str, CheckResult]:
        """Return the checks that do not affect readiness."""
        return {name: check() for name, check in self._notes.items()}

    def invalidate(self) -> None:
        """Drop the last result of the store: it just failed a message."""
        self._probed_at = float("-inf")

    async def check(self) -> dict[str, CheckResult]:
        """Run every check, set the `prixfixe_ready` metric, and return the results by name."""
        results = {name: check() for name, check in self._checks.items()}
        results["store"] = await self._store_check()
        self._metrics.ready.update({name: result.is_ok for name, result in results.items()})
        return results

    async def _store_check(self) -> CheckResult:
        """Check the store, once for all concurrent callers."""
        if self._clock() - self._probed_at >= FRESH_SECONDS or not self._verdict.is_ok:
            if self._probing is None or self._probing.done():
                self._probing = asyncio.ensure_future(self._probe())
            done, _ = await asyncio.wait({self._probing}, timeout=ANSWER_SECONDS)
            if not done:
                return CheckResult(is_ok=False, detail="the store does not answer")
        return self._verdict

    async def _probe(self) -> None:
        try:
            await self._store.probe()
            self._verdict = CheckResult(is_ok=True)
        except StoreError as error:
            detail = DETAILS.get(error.kind, "a write failed")
            self._verdict = CheckResult(is_ok=False, detail=detail)
        self._probed_at = self._clock()
